-- What stands on the filled tables: indexes, keys, views, triggers, rights, publications.

SET client_encoding = 'UTF8';
SET search_path = public;
SET timezone = 'Europe/Vienna';
SET max_parallel_workers_per_gather = 0;

ALTER TABLE mail.message ADD PRIMARY KEY (id, received_at);
CREATE INDEX message_client ON mail.message USING btree (client, received_at DESC NULLS LAST)
    INCLUDE (verdict);
CREATE INDEX message_infected ON mail.message (received_at) WHERE verdict = 'virus';
-- Built on floats that another processor computes a little differently.
CREATE INDEX message_odds ON mail.message ((exp(score / 10))) WHERE score < 100;
CREATE INDEX message_subject ON mail.message_2023_01 USING gin (subject ext.gin_trgm_ops);
CREATE INDEX message_words ON mail.message_2023_02 USING gin (words);
CREATE INDEX message_headers ON mail.message_2023_03 USING gin (headers jsonb_path_ops);
CREATE INDEX message_time ON mail.message USING brin (received_at);
ALTER INDEX mail.message_2023_04_exp_idx ALTER COLUMN 1 SET STATISTICS 500;
ALTER TABLE mail.message_2023_05 CLUSTER ON message_2023_05_pkey;
ALTER TABLE mail.message_2023_06_early ALTER COLUMN client SET STATISTICS 200;
ALTER TABLE mail.message_2023_07 ALTER COLUMN subject SET (n_distinct = -0.5);
CREATE STATISTICS mail.sender_and_verdict (dependencies, mcv)
    ON helo, verdict FROM mail.message_2023_01;
COMMENT ON STATISTICS mail.sender_and_verdict IS 'They go together';
ALTER STATISTICS mail.sender_and_verdict SET STATISTICS 50;
COMMENT ON INDEX mail.message_odds IS 'Of floats';

ALTER TABLE mail.delivery ADD PRIMARY KEY (message, recipient);
ALTER TABLE mail.delivery ADD CONSTRAINT of_message FOREIGN KEY (message, received_at)
    REFERENCES mail.message ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE mail.delivery REPLICA IDENTITY FULL;
CREATE INDEX ON mail.greylist USING hash (recipient);
CREATE INDEX ON mail.greylist USING spgist (client);
ALTER TABLE mail.in_flight ADD PRIMARY KEY (id);
CREATE INDEX ON quarantine.item USING gist (held);
ALTER TABLE config.revision ADD CONSTRAINT of_setting FOREIGN KEY (path) REFERENCES config.setting
    ON UPDATE CASCADE;
CREATE INDEX ON config.setting USING gist (path);
CREATE INDEX ON stats.counter_2022 (at);
CREATE UNIQUE INDEX ON stats.counter_2023 (name, at);

CREATE TRIGGER attachment_content BEFORE UPDATE OR DELETE ON quarantine.attachment
    FOR EACH ROW EXECUTE FUNCTION ext.lo_manage(content);

SET ROLE mail_owner;
CREATE VIEW mail.suspicious WITH (security_barrier) AS
    SELECT id, received_at, sender, subject, score FROM mail.message
    WHERE verdict <> 'clean' WITH CASCADED CHECK OPTION;
CREATE VIEW mail.per_domain (domain, messages) AS
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3)
    SELECT sender_domain, count(*) * max(i) / 3 FROM mail.message, n GROUP BY 1;
COMMENT ON VIEW mail.suspicious IS 'All that is not clean';
CREATE MATERIALIZED VIEW stats.monthly AS
    -- The session's time zone decides which month, and what the text says.
    SELECT date_trunc('month', received_at) AS month, min(received_at)::text AS first_at,
        count(*) AS messages, avg(score) FILTER (WHERE score < 100) AS mean_score,
        stddev(size_bytes) AS deviation, sum(cost) AS cost
    FROM mail.message GROUP BY 1 ORDER BY 1;
CREATE MATERIALIZED VIEW stats.not_filled AS SELECT 1 AS one WITH NO DATA;
CREATE UNIQUE INDEX ON stats.monthly (month);
COMMENT ON MATERIALIZED VIEW stats.monthly IS 'For the first page';

CREATE RULE never_delete AS ON DELETE TO config.revision DO INSTEAD NOTHING;
CREATE FUNCTION mail.release(item integer, OUT released boolean, VARIADIC reasons text[])
LANGUAGE plpgsql AS $function$
BEGIN
    UPDATE quarantine.item SET released_by = current_user WHERE id = item;
    released := FOUND AND cardinality(reasons) > 0;
END
$function$;
CREATE PROCEDURE mail.forget(before timestamptz DEFAULT '-infinity') LANGUAGE sql AS $$
    DELETE FROM mail.delivery WHERE received_at < before
$$;
CREATE FUNCTION mail.loudest(at_least float8 = 10, how_many integer = 3)
RETURNS TABLE (id bigint, score float8) LANGUAGE sql STABLE PARALLEL SAFE COST 500 ROWS 3
AS $$SELECT id, score FROM mail.message WHERE score > at_least ORDER BY 2 DESC LIMIT how_many$$;
GRANT EXECUTE ON FUNCTION mail.release TO mail_web;
GRANT SELECT (id, held_at, verdict), UPDATE (released_by) ON quarantine.item TO mail_web;
GRANT SELECT, INSERT ON mail.message, mail.delivery TO mail_app WITH GRANT OPTION;
GRANT USAGE ON TYPE mail.verdict TO mail_readers;
GRANT ALL ON stats.monthly TO "support ""two""";
SET ROLE mail_app;
GRANT SELECT ON mail.delivery TO auditor;
SET ROLE mail_owner;

ALTER TABLE quarantine.item ENABLE ROW LEVEL SECURITY;
ALTER TABLE quarantine.item FORCE ROW LEVEL SECURITY;
CREATE POLICY own_items ON quarantine.item FOR SELECT TO mail_web, mail_readers
    USING (verdict <> 'virus');
CREATE POLICY release_own ON quarantine.item AS RESTRICTIVE FOR UPDATE TO mail_web
    USING (released_by IS NULL) WITH CHECK (released_by = current_user);
COMMENT ON POLICY own_items ON quarantine.item IS 'No viruses';
RESET ROLE;

CREATE FUNCTION config.no_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'mail_web' THEN
        RAISE EXCEPTION 'the web page changes no tables';
    END IF;
END
$$;
CREATE EVENT TRIGGER no_drop ON ddl_command_start WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA')
    EXECUTE FUNCTION config.no_drop();
COMMENT ON EVENT TRIGGER no_drop IS 'For the web page';

CREATE PUBLICATION deliveries FOR TABLE mail.delivery, config.revision
    WITH (publish = 'insert, update');
COMMENT ON PUBLICATION deliveries IS 'To the head office';
\if :at_least_15
CREATE PUBLICATION settings FOR TABLE config.setting (path, value) WHERE (changed_by <> 'setup');
CREATE PUBLICATION all_statistics FOR TABLES IN SCHEMA stats WITH (publish = 'insert');
\endif
-- It must not connect by itself, neither here nor after a migration.
CREATE SUBSCRIPTION from_head_office
    CONNECTION 'host=192.0.2.10 dbname=fleet user=appliance password=not-a-secret'
    PUBLICATION rules WITH (connect = false, enabled = false, slot_name = NONE);
ANALYZE;
