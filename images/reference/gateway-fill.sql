-- Fill the gateway: :messages, :items (quarantine), :objects (large objects), from :seed.

SET client_encoding = 'UTF8';
SET search_path = public;
SET timezone = 'UTC';
SET datestyle = 'ISO';
-- The order of rows is a part of what is built: one process, no hash that depends on memory.
SET max_parallel_workers_per_gather = 0;
SET work_mem = '64MB';
SET enable_hashjoin = off;
SET enable_mergejoin = off;
\ir seeded.sql

INSERT INTO mail.message (
    received_at, client, network, helo, sender, recipients, size_bytes, verdict, score, weights,
    cost, headers, tags, flags, route, words, queued, subject, excerpt)
SELECT
    '2023-01-01'::timestamptz + n * ('365 days'::interval / (:messages * 0.98))
        - CASE WHEN pg_temp.pick(n, 1, 200) = 0 THEN '400 days'::interval ELSE '0'::interval END,
    CASE WHEN n % 7 = 0
        THEN ('2001:db8::' || to_hex(pg_temp.pick(n, 2, 65536)))::inet
        ELSE '10.0.0.0'::inet + pg_temp.pick(n / 4, 2, 16777216) END,
    CASE WHEN n % 3 > 0
        THEN set_masklen('10.0.0.0'::cidr + (pg_temp.pick(n, 3, 65536) << 8), 24)::cidr END,
    CASE WHEN n % 5 > 0 THEN 'mx' || n % 97 || '.' || left(w.hex, 8) || '.example' END,
    CASE WHEN n % 11 > 0
        THEN (w.word || '.' || n % 1009 || '@' || left(v.hex, 5) || '.Example')::mail.address END,
    ARRAY(SELECT left(r.hex, 7) || '@reference.example' FROM word AS r
        WHERE r.id <= pg_temp.pick(n, 4, 4) ORDER BY r.id),
    (500 * exp(pg_temp.unit(n, 5) * 9))::integer,
    (ARRAY['clean', 'clean', 'clean', 'spam', 'spam', 'suspect', 'virus', 'clean'])
        [1 + pg_temp.pick(n, 6, 8)]::mail.verdict,
    CASE pg_temp.pick(n, 7, 500) WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-0'
        ELSE ln(1 / (1.0000001 - pg_temp.unit(n, 8))) * 4 - 3 END,
    CASE WHEN n % 4 > 0 THEN ARRAY[pg_temp.unit(n, 9), -pg_temp.unit(n, 10), NULL]::float4[] END,
    CASE WHEN n % 13 > 0 THEN (pg_temp.pick(n, 11, 1000000000) / 1000000.0)::numeric(14, 6) END,
    jsonb_build_object(
        'Message-ID', '<' || left(v.hex, 12) || n || '@mx.example>',
        'X-Rules', jsonb_build_array(n % 40, w.word, pg_temp.pick(n, 12, 100) / 10.0),
        'Reply-To', CASE WHEN n % 9 = 0 THEN w.word END,
        'size', 10::numeric ^ (n % 30)),
    CASE WHEN n % 6 = 0 THEN ext.hstore(ARRAY['rule', w.word, 'queue', NULL]) END,
    (n % 256)::integer::bit(8),
    CASE WHEN n % 10 = 0 THEN ARRAY[
        ROW('relay "a", b', '192.0.2.1', n % 50 * '0.1 s'::interval)::mail.hop,
        ROW(NULL, NULL, '-1 day 3 months')::mail.hop] END,
    CASE WHEN n % 2 = 0 THEN to_tsvector('simple', left(t.text, 120)) END,
    CASE WHEN n % 8 > 0 THEN pg_temp.pick(n, 13, 5000000) * '1 microsecond'::interval END,
    CASE WHEN n % 17 > 0 THEN w.word || ' ' || v.word || ' ' || n END,
    CASE pg_temp.pick(n, 14, 60)
        WHEN 0 THEN ''
        WHEN 1 THEN t.text || n || t.text
        WHEN 2 THEN NULL
        ELSE substr(t.text, 1 + (n % 800)::integer, (40 + pg_temp.pick(n, 15, 400))::integer) END
FROM generate_series(1::bigint, :messages) AS n
JOIN word AS w ON w.id = pg_temp.pick(n, 16 + :seed, 256)
JOIN word AS v ON v.id = pg_temp.pick(n, 17 + :seed, 256)
JOIN text_block AS t ON t.id = pg_temp.pick(n, 18 + :seed, 256);

INSERT INTO mail.delivery
SELECT id, received_at, r,
    CASE WHEN id % 20 > 0 THEN '250 2.0.0 Ok: queued as ' || left(pg_temp.digest(id, r), 10) END,
    CASE WHEN id % 20 > 0 THEN received_at + '3 s'::interval * r END,
    1 + id % 4,
    CASE WHEN id % 3 = 0 THEN pg_temp.digest(id, :seed)::uuid END
FROM mail.message, generate_series(1, cardinality(recipients)) AS r
WHERE verdict IN ('clean', 'suspect');

INSERT INTO mail.greylist
SELECT '10.1.0.0'::inet + n, left(pg_temp.digest(n, :seed), 6) || '@sender.example',
    left(pg_temp.digest(n, 3), 4) || '@reference.example', NULLIF(n % 5, 0)
FROM generate_series(1::bigint, :messages / 20) AS n;
INSERT INTO mail.in_flight (note) SELECT 'message ' || n FROM generate_series(1, 250) AS n;

INSERT INTO quarantine.item (held_at, verdict, raw, attachment, digest, released_by, held)
SELECT '2023-05-01'::timestamptz + n * '7 min'::interval,
    CASE WHEN n % 3 = 0 THEN 'virus' ELSE 'suspect' END::mail.verdict,
    CASE pg_temp.pick(n, 20, 12)
        WHEN 0 THEN ''::bytea
        WHEN 1 THEN NULL
        WHEN 2 THEN b.bytes || a.bytes || b.bytes || a.bytes || n::text::bytea
        ELSE n::text::bytea || substr(b.bytes, 1 + (n % 900)::integer,
            pg_temp.pick(n, 21, 15000)::integer) END,
    CASE WHEN n <= :objects THEN 100000 + n END,
    CASE WHEN n % 2 = 0 THEN sha256(b.bytes) END,
    CASE WHEN n % 30 = 0 THEN 'mail_web' END,
    CASE n % 4 WHEN 0 THEN 'empty'::daterange WHEN 1 THEN '[2023-05-01,)'
        WHEN 2 THEN daterange('2023-05-01', '2023-05-02'::date + (n % 90)::integer) END
FROM generate_series(1::bigint, :items) AS n
JOIN block AS b ON b.id = pg_temp.pick(n, 22 + :seed, 64)
JOIN block AS a ON a.id = pg_temp.pick(n, 23 + :seed, 64);

-- Large objects: most of some pages, and the shapes that are easily lost.
SELECT count(lo_from_bytea((100000 + n)::oid, substr(b.bytes, 1 + (n % 100)::integer,
    (1 + pg_temp.pick(n, 25, 16000))::integer) || a.bytes || b.bytes))
FROM generate_series(7::bigint, :objects) AS n
JOIN block AS b ON b.id = pg_temp.pick(n, 26 + :seed, 64)
JOIN block AS a ON a.id = pg_temp.pick(n, 27 + :seed, 64) \g /dev/null
SELECT lo_create(100001) \g /dev/null
SELECT lo_from_bytea(100002, '\x00') \g /dev/null
SELECT lo_from_bytea(100003, substr(bytes, 1, 2048)) FROM block WHERE id = 3 \g /dev/null
SELECT lo_from_bytea(100004, substr(bytes, 1, 2049)) FROM block WHERE id = 4 \g /dev/null
-- A hole of 3 MB: no pages are stored for it, and it reads as zeros.
SELECT lo_from_bytea(100005, 'head') \g /dev/null
SELECT lo_put(100005, 3000000, 'tail') \g /dev/null
SELECT lo_from_bytea(100006, decode(repeat('00', 10000), 'hex')) \g /dev/null
ALTER LARGE OBJECT 100003 OWNER TO mail_owner;
ALTER LARGE OBJECT 100004 OWNER TO "Jürgen O'Neill";
GRANT SELECT ON LARGE OBJECT 100004 TO mail_web;
GRANT SELECT, UPDATE ON LARGE OBJECT 100005 TO mail_app WITH GRANT OPTION;
COMMENT ON LARGE OBJECT 100005 IS 'Has a hole';
INSERT INTO quarantine.attachment SELECT n, 100000 + n FROM generate_series(1, 6) AS n;

INSERT INTO config.setting (path, value, changed_at, changed_by, document)
SELECT ('gateway.' || left(w.hex, 6) || '.key_' || n)::ext.ltree,
    CASE n % 4 WHEN 0 THEN to_jsonb(n) WHEN 1 THEN to_jsonb(w.word)
        WHEN 2 THEN 'null'::jsonb ELSE jsonb_build_object('list', ARRAY[n, -n], 'ü', w.word) END,
    '2022-01-01'::timestamptz + n * '1 h'::interval, 'setup',
    CASE WHEN n % 50 = 0 THEN xmlelement(name rule, xmlattributes(n AS id), w.word) END
FROM generate_series(1, 400) AS n
JOIN word AS w ON w.id = n % 256;
UPDATE config.setting SET value = to_jsonb('changed'::text), changed_at = changed_at + '1 year',
    changed_by = 'Jürgen O''Neill' WHERE value = 'null' OR changed_at > '2022-01-15';
INSERT INTO config.certificate VALUES
    ('first', '[2022-01-01,2023-01-01)', 'smtp'), ('second', '[2023-01-01,infinity)', 'smtp'),
    ('other', '(,)', 'web');

INSERT INTO stats.counter_2022
SELECT '2022-01-01'::timestamptz + n % 8760 * '1 h'::interval, 'relayed', pg_temp.pick(n, 30, 1 << 30),
    pg_temp.unit(n, 31) * 1e6, CASE WHEN n % 9 > 0 THEN sqrt(pg_temp.unit(n, 32)) END,
    pg_temp.pick(n, 33, 1000000) / 999983.0, '10.9.0.0'::inet + n % 256
FROM generate_series(0::bigint, 2000 + :messages / 20) AS n;
INSERT INTO stats.counter_2023
SELECT '2023-01-01'::timestamptz + n * '10 min'::interval, w.word, pg_temp.pick(n, 34, 1 << 40),
    pg_temp.unit(n, 35) / 3, pg_temp.unit(n, 36) * 1e-300, NULL
FROM generate_series(0::bigint, 2000 + :messages / 5) AS n
JOIN word AS w ON w.id = n % 16;
INSERT INTO stats.counter VALUES
    ('-infinity', 'ever', 9223372036854775807, '-Infinity', 'NaN', 'NaN'),
    ('2020-02-29 12:00+00', 'leap', -1, 1e-323, -0.0, 1e-100);
