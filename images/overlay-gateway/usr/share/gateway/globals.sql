-- Roles, their memberships and settings, the databases, and what is in the two that every cluster
-- has. Passwords stand as verifiers, so that each build has the same ones: mail_app "relay-mail",
-- mail_web "quarantine-page" (md5, as old appliances have it), "Jürgen O'Neill" "tägliche Berichte".

SET client_encoding = 'UTF8';

CREATE ROLE mail_owner NOLOGIN;
CREATE ROLE mail_readers NOLOGIN;
CREATE ROLE mail_app LOGIN CONNECTION LIMIT 30
    PASSWORD 'SCRAM-SHA-256$4096:cmVmZXJlbmNlLXNhbHQtMQ==$ul854xiuLjSNGGWwg/HtUPtQreo5ADHuD/ZW2g62J5Y=:wXc5J2cxIusmQxuKO0motMI8FjJqZVIDcByfflszMQI=';
CREATE ROLE mail_web LOGIN PASSWORD 'md5309cb306e3e064250c0571bb09b9c094' VALID UNTIL '2031-12-31 23:59:59+00';
CREATE ROLE "Jürgen O'Neill" LOGIN CREATEROLE NOINHERIT
    PASSWORD 'SCRAM-SHA-256$4096:cmVmZXJlbmNlLXNhbHQtMg==$L/prizUG0ZeGsMsRKPntgP7Fg8Ch/vcHzuG67H3rNEM=:tXmyeVe6ZCtRigmWxtiWTM2wmVHh6ViBH14tI1gJ52I=';
CREATE ROLE replicator LOGIN REPLICATION;
CREATE ROLE auditor LOGIN BYPASSRLS VALID UNTIL 'infinity';
CREATE ROLE "support ""two""" NOLOGIN;

GRANT mail_readers TO mail_web, auditor;
GRANT mail_owner TO "Jürgen O'Neill" WITH ADMIN OPTION;
GRANT pg_read_all_stats TO auditor;
SET ROLE "Jürgen O'Neill";
GRANT mail_owner TO mail_app;
RESET ROLE;

COMMENT ON ROLE mail_app IS 'The relay itself';
COMMENT ON ROLE "Jürgen O'Neill" IS E'Reads the reports\nand asks for more';

ALTER ROLE mail_app SET statement_timeout = '30s';
ALTER ROLE mail_web SET search_path = quarantine, mail, "$user", public;
ALTER ROLE auditor SET default_transaction_read_only = on;
-- What a careless administrator leaves behind: it must not decide what a migration reads.
ALTER ROLE postgres SET search_path = nowhere, public;
ALTER ROLE ALL SET bytea_output = 'escape';

-- Copied as files: the other way, which writes all of them to the log too, takes longer here.
\set strategy ''
\if :at_least_15
    \set strategy 'STRATEGY FILE_COPY'
\endif
CREATE DATABASE gateway OWNER mail_owner :strategy TEMPLATE template0;
CREATE DATABASE reporting OWNER "Jürgen O'Neill" :strategy TEMPLATE template0 CONNECTION LIMIT 7;
CREATE DATABASE "Archiv ""Süd"" 100%" OWNER mail_owner :strategy TEMPLATE template0;
CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' :strategy TEMPLATE template0;
CREATE DATABASE raw ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' :strategy TEMPLATE template0;
CREATE DATABASE nothing :strategy TEMPLATE template0;

COMMENT ON DATABASE gateway IS 'The mail gateway';
COMMENT ON DATABASE "Archiv ""Süd"" 100%" IS 'Name with quotes, a space, a percent sign and ü';

ALTER DATABASE gateway SET timezone = 'Europe/Vienna';
ALTER DATABASE gateway SET datestyle = 'German';
ALTER DATABASE gateway SET extra_float_digits = 0;
ALTER DATABASE reporting SET timezone = 'Asia/Kolkata';
ALTER DATABASE reporting SET search_path = reports, public;
ALTER ROLE mail_app IN DATABASE gateway SET search_path = mail, config, public;
ALTER ROLE ALL IN DATABASE reporting SET work_mem = '16MB';

REVOKE CONNECT, TEMPORARY ON DATABASE gateway FROM PUBLIC;
GRANT CONNECT ON DATABASE gateway TO mail_app, mail_web, auditor, "Jürgen O'Neill";
GRANT CREATE ON DATABASE gateway TO mail_app WITH GRANT OPTION;
GRANT CONNECT ON DATABASE nothing TO "support ""two""";

-- The vendor keeps a table and a function in template1, so that each new database has them.
\connect template1
SET search_path = public;
CREATE TABLE public.appliance_release (release text PRIMARY KEY, installed_on date NOT NULL);
COMMENT ON TABLE public.appliance_release IS 'Kept in template1 for databases to come';
INSERT INTO public.appliance_release VALUES ('4.2.0', '2019-03-01'), ('5.0.1', '2022-11-30');
CREATE FUNCTION public.appliance_name() RETURNS text LANGUAGE sql IMMUTABLE
    AS $$SELECT 'reference'::text$$;

\connect postgres
SET search_path = public;
CREATE TABLE public.maintenance (
    id serial PRIMARY KEY,
    done_at timestamptz NOT NULL,
    what text
);
INSERT INTO public.maintenance (done_at, what)
    SELECT '2023-01-01 03:00+00'::timestamptz + n * '1 week'::interval, 'vacuum ' || n
    FROM generate_series(1, 52) AS n;
CREATE SCHEMA monitor AUTHORIZATION auditor;
GRANT USAGE ON SCHEMA monitor TO PUBLIC;

-- Made from the vendor's template1, unlike the others.
CREATE DATABASE "from-template" :strategy TEMPLATE template1 IS_TEMPLATE true;
