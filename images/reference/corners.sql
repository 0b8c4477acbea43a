-- Corners of the type system and of the catalogs, in few rows: each was lost by some migration.

SET client_encoding = 'UTF8';
SET search_path = public;
SET timezone = 'UTC';
SET datestyle = 'ISO';

CREATE SCHEMA corner;
SET search_path = corner, ext;

-- Numbers.
CREATE TABLE floats (id integer PRIMARY KEY, wide float8, narrow float4, many float8[]);
INSERT INTO floats VALUES
    (1, 'NaN', 'NaN', '{NaN,Infinity,-Infinity,-0,0,NULL}'), (2, 'Infinity', '-Infinity', '{}'),
    (3, '-0', '-0', NULL), (4, 4.9406564584124654e-324, 1.4e-45, '{4.9406564584124654e-324}'),
    (5, 2.2250738585072009e-308, 1.1754942e-38, '{{1.1,2.2},{3.3,NaN}}'),
    (6, 1.7976931348623157e308, 3.4028235e38, '[-2:0]={0.1,0.2,0.30000000000000004}'),
    (7, 0.1 + 0.2::float8, 0.1, '{1e-300}'), (8, NULL, NULL, '{NULL}'), (9, 1e22, 16777217, NULL);
CREATE TABLE numerics (id integer, free numeric, fixed numeric(30, 10), cash money, big bigint);
INSERT INTO numerics VALUES
    (1, 'NaN', 'NaN', '-92233720368547758.08', -9223372036854775808),
    (2, 0.000, -0.0000000001, '92233720368547758.07', 9223372036854775807),
    (3, 1e1000, 12345678901234567890.0123456789, '0.01', 0), (4, 1.500, 1.5, NULL, NULL),
    (5, ('1' || repeat('0', 3000) || '.' || repeat('3', 2000))::numeric, NULL, '1', 1);
\if :at_least_14
INSERT INTO numerics VALUES (6, 'Infinity', NULL, NULL, NULL), (7, '-Infinity', NULL, NULL, NULL);
\endif

-- Times.
CREATE TABLE times (
    id integer, at timestamptz, local timestamp, day date, clock time, zoned timetz, span interval
);
INSERT INTO times VALUES
    (1, 'infinity', '-infinity', 'infinity', '24:00', '00:00+15:59', '178000000 years'),
    (2, '-infinity', '4713-01-01 00:00:00 BC', '4713-01-01 BC', '00:00', '23:59:59.999999-15:59',
        '-1 mon +3 days -04:05:06.000001'),
    (3, '0044-03-15 12:00+00 BC', '0001-01-01', '0001-12-31 BC', '23:59:59.999999', NULL, '0'),
    (4, '294276-12-31 23:59:59.999999+00', '294276-12-31 23:59:59.999999', '5874897-12-31', NULL,
        '12:00+02', '1.000001 s'),
    (5, '2038-01-19 03:14:08+00', '1969-12-31 23:59:59.999999', '1900-02-28', '00:00:00.000001',
        '00:00Z', '1 month 30 days'), (6, NULL, NULL, NULL, NULL, NULL, NULL);

-- Texts.
CREATE TABLE texts (
    id integer, free text, padded char(10), short varchar(5), one "char", label name, folded citext,
    raw json, query tsquery, words tsvector, document xml, path jsonpath, fixed bit(5),
    bits bit varying
);
INSERT INTO texts VALUES
    (1, '', '', '', '', '', '', '{"a":1, "a" : 2}', '', '', '', '$', B'10101', B''),
    (2, E'tab\tnew\nline\r\\N \\. \x01 "quoted" ''single'' $$', 'trail  ', 'ünïcø', 'x',
        repeat('n', 63), 'MiXeD', E'[1.0, 1e400, "\\u0000x"]', 'fat & (rat | !cat:*AB)',
        '''a'':1A,5B ''it''''s'':16383', '<a b="c">ü&amp;<!-- --></a>',
        'strict $.a[*] ? (@ > 1)', B'00000', B'1'),
    (3, E'\\.', NULL, NULL, E'\\377', 'ü', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, U&'\FEFF\00E9e\0301\+01F600\FFFD\10FFFF'::text, E'\n', E'\\N', NULL, NULL, 'İ', '"x"', 'a <-> b',
        'b', '<?xml version="1.0"?><r/>', 'lax $', NULL, repeat('01', 500)::varbit);
INSERT INTO texts (id, free) SELECT 10 + n, repeat(md5(n::text), 400 * n) FROM generate_series(1, 5) AS n;
INSERT INTO texts (id, free)
    SELECT 20, string_agg(md5(n::text), '') FROM generate_series(1, 8000) AS n;

-- Types of one's own, and what contains them.
CREATE TYPE mood AS ENUM ('fine', 'so-so', 'it''s "bad"');
ALTER TYPE mood ADD VALUE 'größer' BEFORE 'so-so';
CREATE TYPE pair AS (how mood, at timestamptz, note text);
CREATE TYPE nested AS (first pair, many pair[], refers regclass);
CREATE DOMAIN positive AS integer DEFAULT 7 NOT NULL CONSTRAINT above_zero CHECK (VALUE > 0);
CREATE DOMAIN moods AS mood[] CHECK (cardinality(VALUE) < 10);
CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TABLE own_types (
    id integer, how mood, many mood[], everything moods, made pair, pairs pair[], deep nested,
    counted positive, spread float_range, spreads int8range[], days daterange, at tstzrange
);
INSERT INTO own_types VALUES
    (1, 'größer', '{fine,NULL,so-so}', '{"it''s \"bad\""}', ROW('fine', '2023-01-01', 'a,"b"'),
        ARRAY[ROW('so-so', NULL, '')::pair, NULL], ROW(ROW('fine', 'infinity', '\'), NULL,
        'pg_class'), 1, '[-0.0,NaN)', '{"[1,2)",empty,"(,)"}', '(,2023-01-01]', '(-infinity,)'),
    (2, NULL, '{}', NULL, ROW(NULL, NULL, NULL), '{}', NULL, 2, 'empty', NULL, NULL, 'empty');
\if :at_least_14
CREATE TABLE multiranges (id integer, ints int4multirange, times tstzmultirange);
INSERT INTO multiranges VALUES (1, '{[1,3),[5,)}', '{}'), (2, '{}', NULL);
CREATE TABLE compressed (id integer, content text COMPRESSION lz4);
INSERT INTO compressed SELECT n, repeat('lz4 ' || n, 2000) FROM generate_series(1, 20) AS n;
CREATE FUNCTION sum_of(a integer, b integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC
    SELECT a + b;
END;
\endif
CREATE TABLE shapes (
    id integer, p point, l line, s lseg, b box, open path, g polygon, c circle, m macaddr,
    m8 macaddr8, i inet, n cidr, u uuid
);
INSERT INTO shapes VALUES
    (1, '(NaN,-0)', '{1,-1,0}', '[(0,0),(1e-310,Infinity)]', '(1,1),(0,0)', '[(0,0),(1,0.1)]',
        '((0,0),(1,0),(0,1))', '<(0.1,0.2),0.3>', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
        '::ffff:1.2.3.4/128', '2001:db8::/32', '00000000-0000-0000-0000-000000000000'),
    (2, '(1,2)', NULL, NULL, NULL, '((0,0),(1,1))', NULL, NULL, NULL, NULL, '0.0.0.0/0', '::/0',
        'ffffffff-ffff-ffff-ffff-ffffffffffff');

-- What holds numbers of the catalog: they differ from cluster to cluster, their names do not.
CREATE DOMAIN a_table AS regclass;
CREATE TABLE catalog_types (
    id integer, relation regclass, kind regtype, called regproc, signature regprocedure,
    by_role regrole, space regnamespace, search regconfig, dictionary regdictionary,
    plus regoper, plus_of regoperator, sorted regcollation, many regclass[], domained a_table,
    acl aclitem, acls aclitem[]
);
INSERT INTO catalog_types VALUES
    (1, 'mail.message', 'mail.verdict', 'mail.loudest', 'mail.loudest(float8, integer)',
        'mail_owner', 'quarantine', 'german', 'simple', 'pg_catalog.||/', '+(integer,integer)',
        '"C"', '{mail.message,config.setting,NULL}', 'corner.floats', 'mail_app=r*w/mail_owner',
        '{mail_app=arwdDxt/mail_owner,=r/postgres}'),
    (2, 'corner.own_types', 'corner.own_types[]', 'now', 'now()', '"Jürgen O''Neill"',
        'corner', 'simple', 'german_stem', NULL, NULL, NULL, '{}', NULL, NULL, '{}');
CREATE TABLE system_types (
    id integer, number oid, xact xid, command cid, place tid, lsn pg_lsn, wide_xact xid8,
    seen pg_snapshot, ints int2vector, oids oidvector
);
INSERT INTO system_types VALUES
    (1, 4294967295, '4294967295', '1', '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF',
        '18446744073709551615', '10:20:10,14,15', '1 2 3', '1 4294967295'),
    (2, 0, '0', '0', '(0,0)', '0/0', '0', '1:1:', '', '');

-- Extensions whose types have no binary form, or had none in earlier releases.
CREATE EXTENSION cube SCHEMA ext;
CREATE EXTENSION seg SCHEMA ext;
CREATE EXTENSION intarray SCHEMA ext;
CREATE EXTENSION isn SCHEMA ext;
CREATE TABLE extension_types (
    id integer, pairs hstore, tree ltree, pattern lquery, words ltxtquery, space cube, span seg,
    ints query_int, book isbn, many ltree[]
);
INSERT INTO extension_types VALUES
    (1, 'a=>NULL, "b c"=>"\"", ü=>""', 'top.über.x', '*.x@*{1,}', 'a & b*', '(0.1,-0),(1e-300,2)',
        '1.50 .. 2.0', '1&(2|3)', '978-0-393-04002-9', '{a.b,NULL,""}'),
    (2, '', '', '*', 'x', '(1)', '<3', '!4', NULL, '{}');

-- Shapes of tables.
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE empty (id serial PRIMARY KEY, note text);
CREATE TABLE only_nulls AS SELECT NULL::text AS a, NULL::integer AS b FROM generate_series(1, 100);
CREATE TABLE dropped (a integer, b text, c float8, d numeric);
INSERT INTO dropped SELECT n, 'b' || n, n / 7.0::float8, n FROM generate_series(1, 50) AS n;
ALTER TABLE dropped DROP COLUMN b, DROP COLUMN d;
ALTER TABLE dropped ADD COLUMN e text DEFAULT 'never stored', ADD COLUMN f timestamptz;
INSERT INTO dropped (a) VALUES (51);
CREATE TABLE holes AS SELECT n, repeat('x', 100) AS filler FROM generate_series(1, 2000) AS n;
DELETE FROM holes WHERE n % 3 = 0;
UPDATE holes SET filler = 'moved' WHERE n % 10 = 1;
CREATE TABLE computed (
    a integer, b float8, twice integer GENERATED ALWAYS AS (a * 2) STORED,
    wave float8 GENERATED ALWAYS AS (sin(b) * ln(abs(b) + 1)) STORED,
    shown text GENERATED ALWAYS AS (upper(a::text || 'ß')) STORED
);
INSERT INTO computed (a, b) SELECT n, n * 0.37 FROM generate_series(-20, 20) AS n;
INSERT INTO computed (a, b) VALUES (NULL, 'NaN'), (1, NULL);
CREATE ACCESS METHOD heap_by_another_name TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE other_method (a integer) USING heap_by_another_name;
INSERT INTO other_method VALUES (1);
CREATE UNLOGGED TABLE forgotten (id serial PRIMARY KEY, note text);
INSERT INTO forgotten (note) SELECT 'row ' || n FROM generate_series(1, 40) AS n;
CREATE TYPE row_kind AS (a integer, b text);
CREATE TABLE typed OF row_kind (PRIMARY KEY (a), b WITH OPTIONS DEFAULT 'x');
INSERT INTO typed VALUES (1), (2);
CREATE TABLE whole_rows (id integer, r dropped, t typed[]);
INSERT INTO whole_rows SELECT 1, d, ARRAY(SELECT t FROM typed AS t) FROM dropped AS d LIMIT 1;
\ir corners-names.sql
\ir corners-rules.sql

-- Rows of a table that is partitioned by the hash of an enum belong into other partitions in
-- another cluster, where the enum's labels have other OIDs.
CREATE TYPE corner.colour AS ENUM ('red', 'green', 'blue', 'none', 'any');
CREATE TABLE corner.by_colour (
    colour corner.colour,
    number integer,
    weight float8
) PARTITION BY HASH (colour);
CREATE TABLE corner.by_colour_0 PARTITION OF corner.by_colour FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE corner.by_colour_1 PARTITION OF corner.by_colour FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE corner.by_colour_2 PARTITION OF corner.by_colour FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO corner.by_colour
SELECT (enum_range(NULL::corner.colour))[1 + n % 5], n, n / 7.0::float8 FROM generate_series(1, 100) AS n;
