-- Who may do what in a plant's database. docs/postgresql.md has the same as a table, and a test tries each of its cells.
--
-- Run it as the owner of the tables, after each `inspector db upgrade`, which may have made new ones:
--   psql --single-transaction --set ON_ERROR_STOP=1 --file roles.sql inspector
--
-- The four roles can't log in. Give each agent, console and person a user of its own in one of them:
--   CREATE ROLE "line1-agent" LOGIN IN ROLE inspector_agent;  \password "line1-agent"
-- Nobody but the owner may change or delete a row of the audit, and agents can't change what judges.

DO $$
DECLARE
    named text;
BEGIN
    FOREACH named IN ARRAY ARRAY['inspector_agent', 'inspector_console', 'inspector_operator', 'inspector_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = named) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', named);
        END IF;
        -- What an earlier version of this file gave goes first.
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM %I', named);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM %I', named);
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', named);
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), named);
    END LOOP;
END $$;

-- Nobody makes tables or functions beside ours, which a search path could find first; nobody else connects at all.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()); END $$;

-- may(role, rights, tables...): grants them on the tables that this revision of the database has, with their sequences.
CREATE FUNCTION pg_temp.may(named text, rights text, VARIADIC wanted text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    its text;
    counter text;
BEGIN
    FOREACH its IN ARRAY wanted LOOP
        CONTINUE WHEN to_regclass(format('public.%I', its)) IS NULL;
        EXECUTE format('GRANT %s ON public.%I TO %I', rights, its, named);
        IF rights LIKE '%INSERT%' THEN
            FOR counter IN
                SELECT pg_get_serial_sequence(format('public.%I', its), attname) FROM pg_attribute
                WHERE attrelid = to_regclass(format('public.%I', its)) AND attnum > 0 AND NOT attisdropped
            LOOP
                CONTINUE WHEN counter IS NULL;
                EXECUTE format('GRANT USAGE ON SEQUENCE %s TO %I', counter, named);
            END LOOP;
        END IF;
    END LOOP;
END $$;

-- The number of an entry is the server's alone: whoever could choose it could take those that come next, so that nobody
-- could add an entry any more.
CREATE FUNCTION pg_temp.adds_to_audit(named text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_temp.may(
        named, 'INSERT (at, user_name, object, old_value, new_value, reason, prev_hash, hash)', 'audit'
    );
$$;

-- Readers: reports, dashboards, people who look. No passwords, no sessions.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO inspector_reader, inspector_agent, inspector_operator, inspector_console;
REVOKE SELECT ON people, sessions FROM inspector_reader, inspector_agent, inspector_operator;

-- Agents write what happened, and remove what retention says. They read the products and can't change them; graphs they
-- may add, which are checked against their digests and the version's probes. The lock of the audit is an UPDATE to
-- PostgreSQL, so they get it on the one column that no code changes.
SELECT pg_temp.may('inspector_agent', 'INSERT, UPDATE', 'gates', 'challenges', 'agents', 'agent_processors', 'cameras');
SELECT pg_temp.may('inspector_agent', 'INSERT, UPDATE, DELETE', 'results', 'decisions', 'gate_actions', 'gate_owners');
SELECT pg_temp.may('inspector_agent', 'INSERT, DELETE', 'shadow_results', 'conflicts', 'events', 'commands', 'graphs');
SELECT pg_temp.adds_to_audit('inspector_agent');
SELECT pg_temp.may('inspector_agent', 'UPDATE (id)', 'registry_revision');

-- The console: people, reviews, jobs that a worker does, and which version is live. It adds no versions.
SELECT pg_temp.may('inspector_console', 'INSERT, UPDATE', 'people', 'reviews', 'jobs', 'holds');
SELECT pg_temp.may('inspector_console', 'INSERT, DELETE', 'sessions');
SELECT pg_temp.may('inspector_console', 'INSERT', 'hour_counts', 'counted_hours');
SELECT pg_temp.adds_to_audit('inspector_console');
SELECT pg_temp.may('inspector_console', 'UPDATE', 'products', 'registry_revision');
SELECT pg_temp.may('inspector_console', 'UPDATE (threshold)', 'product_versions');
SELECT pg_temp.may('inspector_console', 'INSERT, UPDATE, DELETE', 'version_signatures');

-- Operators: `inspector enroll`, `products`, `review`, `contain`, `db hold` and `db prune`, and `inspector worker`.
SELECT pg_temp.may('inspector_operator', 'INSERT, UPDATE',
    'products', 'product_versions', 'reviews', 'jobs', 'holds', 'signing_keys', 'version_signatures');
SELECT pg_temp.may('inspector_operator', 'DELETE', 'signing_keys', 'version_signatures',
    'results', 'decisions', 'gate_actions', 'shadow_results', 'conflicts', 'events', 'commands');
SELECT pg_temp.may('inspector_operator', 'INSERT, DELETE', 'graphs');
SELECT pg_temp.adds_to_audit('inspector_operator');
SELECT pg_temp.may('inspector_operator', 'UPDATE', 'registry_revision');
