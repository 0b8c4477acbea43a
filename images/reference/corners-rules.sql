-- Constraints, rules, triggers, rights.

CREATE TABLE team (id integer PRIMARY KEY, lead integer NOT NULL);
CREATE TABLE person (
    id integer PRIMARY KEY USING INDEX TABLESPACE pg_default,
    team integer NOT NULL REFERENCES team DEFERRABLE INITIALLY DEFERRED,
    name text, UNIQUE (team, name) DEFERRABLE
);
ALTER TABLE team ADD CONSTRAINT lead_is_a_person FOREIGN KEY (lead) REFERENCES person
    ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO team VALUES (1, 2), (2, 1);
INSERT INTO person VALUES (1, 1, 'a'), (2, 2, 'b');
COMMIT;
CREATE TABLE tree_node (id integer PRIMARY KEY, parent integer REFERENCES tree_node);
INSERT INTO tree_node VALUES (3, NULL), (1, 3), (2, 1);
-- Rows that their own constraints would refuse today.
CREATE TABLE not_valid (id integer, team integer, n integer);
INSERT INTO not_valid VALUES (1, 99, -1);
ALTER TABLE not_valid ADD CONSTRAINT to_team FOREIGN KEY (team) REFERENCES team NOT VALID;
ALTER TABLE not_valid ADD CONSTRAINT positive CHECK (n > 0) NOT VALID;
CREATE TABLE parent_of_check (id integer CHECK (id > 0) NO INHERIT);
CREATE TABLE child_of_check (extra text) INHERITS (parent_of_check);
INSERT INTO parent_of_check VALUES (1);
INSERT INTO child_of_check VALUES (-1, 'allowed here');
CREATE TABLE room (number integer, during tsrange, EXCLUDE USING gist
    (number WITH =, during WITH &&) WHERE (number > 0) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO room VALUES (1, '[2023-01-01,2023-01-02)'), (1, '[2023-01-02,2023-01-03)');

CREATE TABLE seen (what text, n integer);
CREATE FUNCTION notice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO corner.seen VALUES (TG_OP || ' ' || TG_NAME, TG_NARGS);
    RETURN NULL;
END
$$;
CREATE TRIGGER after_all AFTER INSERT ON person FOR EACH STATEMENT EXECUTE FUNCTION notice('x', 'y');
CREATE TRIGGER asleep AFTER UPDATE ON person FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name)
    EXECUTE FUNCTION notice();
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON team DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION notice();
CREATE TRIGGER changes AFTER UPDATE ON team REFERENCING OLD TABLE AS o NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION notice();
ALTER TABLE person DISABLE TRIGGER asleep;
ALTER TABLE person ENABLE ALWAYS TRIGGER after_all;
ALTER TABLE team ENABLE REPLICA TRIGGER changes;
INSERT INTO person VALUES (3, 1, 'c');

CREATE VIEW open_team AS SELECT id, lead FROM team;
CREATE RULE insert_open AS ON INSERT TO open_team DO INSTEAD INSERT INTO team VALUES (NEW.id, NEW.lead);
CREATE RULE log_update AS ON UPDATE TO not_valid WHERE OLD.n <> NEW.n
    DO ALSO INSERT INTO seen VALUES ('rule', NEW.n);
CREATE FUNCTION on_view() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER on_view INSTEAD OF DELETE ON open_team FOR EACH ROW EXECUTE FUNCTION on_view();

GRANT USAGE ON SCHEMA corner TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA corner TO auditor;
GRANT SELECT (id, wide), REFERENCES (id) ON floats TO PUBLIC;
GRANT UPDATE ON SEQUENCE gaps TO "Jürgen O'Neill" WITH GRANT OPTION;
REVOKE ALL ON FUNCTION compare_down FROM PUBLIC;
ALTER TABLE numerics OWNER TO mail_owner;
-- The owner's own rights are gone: an ACL that is empty is not one that is absent.
REVOKE ALL ON numerics FROM mail_owner, auditor;
ALTER DEFAULT PRIVILEGES IN SCHEMA corner GRANT EXECUTE ON FUNCTIONS TO "support ""two""";
ALTER DEFAULT PRIVILEGES FOR ROLE "Jürgen O'Neill" GRANT USAGE ON TYPES TO auditor;
CREATE TABLE guarded (who name, what text);
INSERT INTO guarded VALUES ('mail_web', 'a'), ('auditor', 'b');
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY "only ""own""" ON guarded USING (who = CURRENT_USER);
