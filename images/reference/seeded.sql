-- Numbers that look random and follow from :seed alone, on a machine of either width.

CREATE FUNCTION pg_temp.pick(n bigint, salt bigint, below bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT (hashint8extended(n, salt) & 1152921504606846975) % below
$$;
CREATE FUNCTION pg_temp.unit(n bigint, salt bigint) RETURNS float8
LANGUAGE sql IMMUTABLE AS $$
    SELECT (hashint8extended(n, salt) & 9007199254740991) / 9007199254740992::float8
$$;
CREATE FUNCTION pg_temp.digest(n bigint, salt bigint) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT md5(hashint8extended(n, salt)::text)
$$;
CREATE TEMPORARY TABLE word AS
    SELECT n AS id, pg_temp.digest(n, :seed) AS hex, (ARRAY[
        'invoice', 'meeting', 're:', 'Rückfrage', 'offer', 'urgent', 'лотерея', '請求書', 'fw:',
        'newsletter', 'password', 'Bestellung', 'delivery', 'résumé', 'winner', '🎁'
    ])[1 + pg_temp.pick(n, :seed, 16)] AS word
    FROM generate_series(0, 255) AS n;
-- 16 KiB each, from which contents are put together; hashing every byte would take too long.
CREATE TEMPORARY TABLE block AS
    SELECT b AS id, decode(string_agg(md5((:seed * 1000000 + b * 1024 + n)::text), '' ORDER BY n),
        'hex') AS bytes
    FROM generate_series(0, 63) AS b, generate_series(0, 1023) AS n GROUP BY b;
CREATE TEMPORARY TABLE text_block AS
    SELECT b AS id, string_agg(word || ' ' || left(hex, 6), ' '
        ORDER BY pg_temp.pick(b * 1000 + word.id, :seed, 1000), word.id) AS text
    FROM generate_series(0, 255) AS b, word GROUP BY b;
CREATE UNIQUE INDEX ON word (id);
CREATE UNIQUE INDEX ON block (id);
CREATE UNIQUE INDEX ON text_block (id);
ANALYZE word;
ANALYZE block;
ANALYZE text_block;
