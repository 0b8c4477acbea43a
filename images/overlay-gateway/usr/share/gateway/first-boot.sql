-- Before gateway-finish.sql. What a new gateway begins with: its settings, its first certificate, and who counts its mail.

SET client_encoding = 'UTF8';
SET search_path = public;
SET timezone = 'UTC';

CREATE ROLE statistics LOGIN CONNECTION LIMIT 3;
COMMENT ON ROLE statistics IS 'The statistics daemon, by its system user';
GRANT pg_read_all_stats TO statistics;
GRANT CONNECT ON DATABASE gateway TO statistics;

INSERT INTO config.setting (path, value, changed_at) VALUES
    ('relay.hostname', '"gateway.example"', now()),
    ('relay.networks', '["127.0.0.0/8", "192.0.2.0/24"]', now()),
    ('relay.limits.size_bytes', '26214400', now()),
    ('relay.limits.connections', '30', now()),
    ('filter.spam.threshold', '5.0', now()),
    ('filter.spam.action', '"quarantine"', now()),
    ('filter.virus.action', '"refuse"', now()),
    ('quarantine.days', '30', now()),
    ('history.months', '12', now()),
    ('web.language', '"en"', now());
INSERT INTO config.certificate (name, valid, purpose)
    VALUES ('first', tstzrange(now(), now() + '90 days'), 'smtp');
