-- The other databases: their time zones, encodings and names.

SET client_encoding = 'UTF8';
SET timezone = 'UTC';

\connect reporting
SET client_encoding = 'UTF8';
SET datestyle = 'ISO';
CREATE SCHEMA reports AUTHORIZATION "Jürgen O'Neill";
SET search_path = reports;
CREATE TABLE daily (day date PRIMARY KEY, total bigint, ratio float8);
INSERT INTO daily SELECT '2021-01-01'::date + n, (hashint8extended(n, :seed) & 65535), n / 11.0::float8
    FROM generate_series(0, 900) AS n;
CREATE TABLE event (at timestamptz, local_text text GENERATED ALWAYS AS (NULL::text) STORED);
INSERT INTO event SELECT '2021-06-01 00:00+00'::timestamptz + n * '37 h'::interval
    FROM generate_series(0, 200) AS n;
-- Its text depends on the database's own time zone.
CREATE MATERIALIZED VIEW as_shown AS
    SELECT at, to_char(at, 'DD.MM.YYYY HH24:MI TZH:TZM') AS shown, extract(epoch FROM at) / 7 AS e
    FROM event;

\connect "Archiv ""Süd"" 100%"
SET client_encoding = 'UTF8';
CREATE TABLE public."Böhm" ("Schlüssel" serial PRIMARY KEY, "Wert" text);
INSERT INTO public."Böhm" ("Wert") SELECT 'Wert ' || n FROM generate_series(1, 100) AS n;
-- A large object in a second database, with the number of one in the first.
SELECT lo_from_bytea(100002, 'another') \g /dev/null

\connect latin
SET client_encoding = 'UTF8';
CREATE TABLE public.umlaut (wort text PRIMARY KEY, "größe" integer);
INSERT INTO public.umlaut VALUES ('Ärger', 1), ('naïve', 2), ('ÿ', 3), ('plain', 4);
COMMENT ON TABLE public.umlaut IS 'Stored in one byte each: äöü';

\connect raw
SET client_encoding = 'SQL_ASCII';
CREATE TABLE public.bytes_as_text (id integer PRIMARY KEY, content text);
-- Bytes that are no UTF-8, as a mailer took them in before anybody thought of encodings.
INSERT INTO public.bytes_as_text VALUES (1, 'ascii'), (2, E'\374\366\344'), (3, E'\303\274'),
    (4, E'\200\377\376');

\connect nothing
\connect gateway
CHECKPOINT;
