-- As little as exercises every step of a migration: a role, a partition, a large object.
SET client_encoding = 'UTF8';
CREATE ROLE keeper NOLOGIN;
CREATE ROLE "Jürgen" LOGIN IN ROLE keeper
    PASSWORD 'SCRAM-SHA-256$4096:cmVmZXJlbmNlLXNhbHQtMQ==$ul854xiuLjSNGGWwg/HtUPtQreo5ADHuD/ZW2g62J5Y=:wXc5J2cxIusmQxuKO0motMI8FjJqZVIDcByfflszMQI=';
ALTER ROLE "Jürgen" SET statement_timeout = '30s';
CREATE DATABASE mail OWNER keeper TEMPLATE template0;
ALTER DATABASE mail SET timezone = 'Europe/Vienna';
GRANT CONNECT ON DATABASE mail TO "Jürgen";

\connect template1
CREATE TABLE public.release (release text PRIMARY KEY);
INSERT INTO public.release VALUES ('4.2.0'), ('5.0.1');

\connect mail
SET client_encoding = 'UTF8';
CREATE TABLE public.message (
    id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, sender text, score float8,
    doubled float8 GENERATED ALWAYS AS (score * 2) STORED, PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE public.message_2023 PARTITION OF public.message
    FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE public."message größer" PARTITION OF public.message DEFAULT;
INSERT INTO public.message (at, sender, score)
    SELECT '2023-06-01 00:00+00'::timestamptz + n * '1 day'::interval, 'ü' || n, sin(n) FROM generate_series(1, 400) AS n;
INSERT INTO public.message (at, sender, score) VALUES ('infinity', NULL, 'NaN'), ('-infinity', '', '-0');
CREATE INDEX ON public.message (sender);
CREATE MATERIALIZED VIEW public.by_day AS
    SELECT date_trunc('day', at) AS day, count(*) AS messages FROM public.message GROUP BY 1;
CREATE SEQUENCE public.ticket START 1000 INCREMENT 7;
SELECT nextval('public.ticket') \g /dev/null
CREATE TABLE public.attachment (id integer PRIMARY KEY, content bytea, object oid);
INSERT INTO public.attachment SELECT n, sha256(n::text::bytea), 50000 + n FROM generate_series(1, 3) AS n;
SELECT lo_from_bytea(50000 + n, convert_to(repeat(md5(n::text), 3000), 'UTF8'))
    FROM generate_series(1, 3) AS n \g /dev/null
GRANT SELECT ON LARGE OBJECT 50001 TO "Jürgen";
GRANT SELECT ON ALL TABLES IN SCHEMA public TO "Jürgen";
CHECKPOINT;
