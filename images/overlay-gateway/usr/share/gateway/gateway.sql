-- The mail gateway's own tables, as they are before anything is in them. Indexes, foreign keys,
-- triggers and policies follow in gateway-finish.sql, once the tables are filled.

SET client_encoding = 'UTF8';
SET search_path = public;
SET timezone = 'UTC';
SET datestyle = 'ISO';

CREATE SCHEMA ext;
GRANT USAGE ON SCHEMA ext TO PUBLIC;
CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE EXTENSION ltree SCHEMA ext;
CREATE EXTENSION btree_gist SCHEMA ext;
CREATE EXTENSION lo SCHEMA ext;
CREATE EXTENSION unaccent SCHEMA ext;
CREATE EXTENSION "uuid-ossp" SCHEMA ext;
CREATE EXTENSION file_fdw SCHEMA ext;
CREATE EXTENSION postgres_fdw SCHEMA ext;
GRANT USAGE ON FOREIGN DATA WRAPPER file_fdw, postgres_fdw TO mail_owner;

CREATE SCHEMA mail AUTHORIZATION mail_owner;
CREATE SCHEMA quarantine AUTHORIZATION mail_owner;
CREATE SCHEMA config AUTHORIZATION mail_owner;
CREATE SCHEMA stats AUTHORIZATION mail_owner;
COMMENT ON SCHEMA mail IS 'History of what passed';
GRANT USAGE ON SCHEMA mail, quarantine, config, stats TO mail_readers, mail_app;
ALTER DEFAULT PRIVILEGES FOR ROLE mail_owner IN SCHEMA mail GRANT SELECT ON TABLES TO mail_readers;
ALTER DEFAULT PRIVILEGES FOR ROLE mail_owner GRANT USAGE ON SEQUENCES TO mail_app;
ALTER DEFAULT PRIVILEGES FOR ROLE mail_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

SET ROLE mail_owner;

-- History, by month.
CREATE TYPE mail.verdict AS ENUM ('clean', 'spam', 'virus');
ALTER TYPE mail.verdict ADD VALUE 'suspect' BEFORE 'spam';
CREATE DOMAIN mail.address AS ext.citext CHECK (VALUE LIKE '%@%');
CREATE TYPE mail.hop AS (host text, address inet, took interval);

CREATE SEQUENCE mail.message_id AS bigint START 1000;
CREATE TABLE mail.message (
    id bigint NOT NULL DEFAULT nextval('mail.message_id'),
    received_at timestamptz NOT NULL,
    client inet NOT NULL,
    network cidr,
    helo text,
    sender mail.address,
    recipients text[] NOT NULL,
    size_bytes integer NOT NULL CHECK (size_bytes >= 0),
    verdict mail.verdict NOT NULL,
    score float8 NOT NULL,
    weights float4[],
    cost numeric(14, 6),
    headers jsonb NOT NULL,
    tags ext.hstore,
    flags bit(8) NOT NULL DEFAULT B'00000000',
    route mail.hop[],
    words tsvector,
    queued interval,
    subject text,
    excerpt text,
    -- Recomputed by another processor, it differs in its last digits.
    likelihood float8 GENERATED ALWAYS AS (1 / (1 + exp(- least(score, 300) / 3))) STORED,
    sender_domain text GENERATED ALWAYS AS (lower(split_part(sender::text, '@', 2))) STORED
) PARTITION BY RANGE (received_at);
ALTER SEQUENCE mail.message_id OWNED BY mail.message.id;
COMMENT ON TABLE mail.message IS 'One row for each message, by month';
COMMENT ON COLUMN mail.message.score IS 'Sum of all rules'' weights; NaN where a rule failed';

CREATE TABLE mail.message_old PARTITION OF mail.message DEFAULT;
SELECT format(
    'CREATE TABLE mail.%I PARTITION OF mail.message FOR VALUES FROM (%L) TO (%L)%s',
    to_char(month, '"message_"YYYY_MM'), month, month + '1 month'::interval,
    CASE WHEN month = '2023-06-01' THEN ' PARTITION BY RANGE (received_at)' ELSE '' END)
FROM generate_series('2023-01-01'::timestamp, '2023-11-01', '1 month') AS month
\gexec
CREATE TABLE mail.message_2023_06_early PARTITION OF mail.message_2023_06
    FOR VALUES FROM (MINVALUE) TO ('2023-06-15 12:00');
CREATE TABLE mail.message_2023_06_late PARTITION OF mail.message_2023_06 DEFAULT;
-- Attached later: its columns stand in another order, and one was dropped.
CREATE TABLE mail.message_2023_12 (
    received_at timestamptz NOT NULL, gone text, id bigint NOT NULL, excerpt text, subject text,
    client inet NOT NULL, network cidr, helo text, sender mail.address, recipients text[] NOT NULL,
    size_bytes integer NOT NULL, verdict mail.verdict NOT NULL, score float8 NOT NULL,
    weights float4[], cost numeric(14, 6), headers jsonb NOT NULL, tags ext.hstore,
    flags bit(8) NOT NULL DEFAULT B'00000000', route mail.hop[], words tsvector, queued interval,
    likelihood float8 GENERATED ALWAYS AS (1 / (1 + exp(- least(score, 300) / 3))) STORED,
    sender_domain text GENERATED ALWAYS AS (lower(split_part(sender::text, '@', 2))) STORED,
    CONSTRAINT message_size_bytes_check CHECK (size_bytes >= 0)
);
ALTER TABLE mail.message_2023_12 DROP COLUMN gone;
ALTER TABLE mail.message ATTACH PARTITION mail.message_2023_12
    FOR VALUES FROM ('2023-12-01') TO ('2024-01-01');
ALTER TABLE mail.message_2023_03 SET (fillfactor = 90, autovacuum_enabled = off);

CREATE TABLE mail.delivery (
    message bigint NOT NULL,
    received_at timestamptz NOT NULL,
    recipient smallint NOT NULL,
    answer text,
    delivered_at timestamptz,
    attempts int2 NOT NULL DEFAULT 1,
    trace uuid
);
CREATE TABLE mail.greylist (
    client inet NOT NULL, sender text NOT NULL, recipient text NOT NULL, seen integer
) PARTITION BY HASH (sender);
SELECT format('CREATE TABLE mail.greylist_%s PARTITION OF mail.greylist'
    ' FOR VALUES WITH (MODULUS 3, REMAINDER %s)', n, n) FROM generate_series(0, 2) AS n
\gexec
CREATE UNLOGGED TABLE mail.in_flight (id integer GENERATED ALWAYS AS IDENTITY, note text);

-- Quarantine: bytes in rows, and attachments as large objects.
CREATE TABLE quarantine.item (
    id integer GENERATED BY DEFAULT AS IDENTITY (START 10 INCREMENT 5) PRIMARY KEY,
    held_at timestamptz NOT NULL,
    verdict mail.verdict NOT NULL DEFAULT 'suspect',
    raw bytea,
    attachment oid,
    digest bytea,
    released_by name,
    held daterange
);
ALTER TABLE quarantine.item ALTER COLUMN raw SET STORAGE EXTERNAL;
CREATE TABLE quarantine.attachment (
    id integer PRIMARY KEY,
    content ext.lo
);

-- Configuration with its revisions.
CREATE TABLE config.setting (
    path ext.ltree PRIMARY KEY,
    value jsonb,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL DEFAULT 'setup',
    document xml
);
CREATE TABLE config.revision (
    number serial PRIMARY KEY,
    path ext.ltree NOT NULL,
    before jsonb,
    after jsonb,
    at timestamptz NOT NULL
);
CREATE FUNCTION config.keep_revision() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = config, ext, pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.value IS NOT DISTINCT FROM OLD.value THEN
        RETURN NEW;
    END IF;
    INSERT INTO config.revision (path, before, after, at)
    VALUES (NEW.path, CASE WHEN TG_OP = 'UPDATE' THEN OLD.value END, NEW.value, NEW.changed_at);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION config.keep_revision() IS 'Writes what was before; ''quoted'', \ and % too';
CREATE TRIGGER keep_revision BEFORE INSERT OR UPDATE OF value ON config.setting
    FOR EACH ROW EXECUTE FUNCTION config.keep_revision();
CREATE TABLE config.certificate (
    name text PRIMARY KEY,
    valid tstzrange NOT NULL,
    purpose text NOT NULL,
    EXCLUDE USING gist (purpose WITH =, valid WITH &&)
);

-- Statistics; hourly ones are kept by inheritance, as they were before partitions existed.
CREATE TABLE stats.counter (
    at timestamptz NOT NULL,
    name text NOT NULL,
    total bigint NOT NULL,
    mean float8,
    deviation float8,
    share numeric
);
CREATE TABLE stats.counter_2022 (CHECK (at < '2023-01-01'), source inet) INHERITS (stats.counter);
CREATE TABLE stats.counter_2023 (CHECK (at >= '2023-01-01')) INHERITS (stats.counter);

RESET ROLE;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE SERVER head_office FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host '192.0.2.10', dbname 'fleet', fetch_size '500');
CREATE USER MAPPING FOR mail_app SERVER head_office
    OPTIONS (user 'appliance', password 'not-a-secret');
GRANT USAGE ON FOREIGN SERVER head_office TO mail_app;
CREATE FOREIGN TABLE stats.rules (name text, weight float8)
    SERVER files OPTIONS (filename '/etc/gateway/rules.csv', format 'csv', header 'true');
CREATE FOREIGN TABLE stats.fleet_totals (
    appliance integer OPTIONS (column_name 'id') NOT NULL, total bigint
) SERVER head_office OPTIONS (schema_name 'public', table_name 'totals');
COMMENT ON FOREIGN TABLE stats.fleet_totals IS 'Cannot be reached while a migration runs';
