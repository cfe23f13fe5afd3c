--
-- Privileges: who may call, see and touch what, and that no search_path makes
-- a caller's code run as somebody else.
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS nexus_pg;
RESET client_min_messages;
\pset format unaligned
\pset tuples_only on
CREATE SERVER regress_off FOREIGN DATA WRAPPER nexus OPTIONS (url 'http://127.0.0.1:9', enabled 'false');
CREATE ROLE regress_nexus_alice;
CREATE ROLE regress_nexus_bob;
CREATE ROLE regress_nexus_team;
CREATE ROLE regress_nexus_monitor IN ROLE pg_monitor;
GRANT regress_nexus_team TO regress_nexus_bob;

-- Every object of the schema and what is granted on it beyond its owner
SELECT 'schema', nspname, array_to_string(ARRAY(SELECT grantee::regrole || ' ' || privilege_type FROM aclexplode(nspacl)
    WHERE grantee <> nspowner ORDER BY 1), ', ') FROM pg_namespace WHERE nspname = 'nexus';
SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE relkind::text END, relname,
    array_to_string(ARRAY(SELECT grantee::regrole || ' ' || privilege_type FROM aclexplode(relacl)
    WHERE grantee <> relowner ORDER BY 1), ', ')
  FROM pg_class WHERE relnamespace = 'nexus'::regnamespace AND relkind NOT IN ('i') ORDER BY relkind, relname COLLATE "C";
SELECT CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, proname,
    array_to_string(ARRAY(SELECT grantee::regrole || ' ' || privilege_type
        FROM aclexplode(COALESCE(proacl, acldefault('f', proowner))) WHERE grantee <> proowner ORDER BY 1), ', '),
    CASE WHEN prosecdef THEN 'SECURITY DEFINER' END
  FROM pg_proc WHERE pronamespace = 'nexus'::regnamespace ORDER BY proname COLLATE "C";
SELECT fdwname, fdwacl FROM pg_foreign_data_wrapper WHERE fdwname = 'nexus';

-- How a command ended, without the ids, which differ each time.
CREATE FUNCTION public.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
    RETURN regexp_replace(concat_ws(' | ', SQLSTATE, message), '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'ID', 'g');
END $$;

-- Scheduling needs USAGE on the server
SET ROLE regress_nexus_alice;
SELECT outcome($$SELECT nexus.schedule('regress_off', 'hello', 'say')$$);
SELECT outcome($$SELECT nexus.schedule_bytes('regress_off', 'hello', 'say')$$);
SELECT outcome($$SELECT nexus.execute('regress_off', 'hello', 'say')$$);
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER regress_off TO regress_nexus_alice, regress_nexus_team;
SET ROLE regress_nexus_alice;
SELECT nexus.schedule('regress_off', 'hello', 'of alice', '{"secret": 1}', summary => 'private', headers => '{"a": "b"}') AS alice \gset
SET ROLE regress_nexus_team;
SELECT nexus.schedule('regress_off', 'hello', 'of the team', '{"secret": 2}') AS team \gset

-- Nobody touches the tables
SET ROLE regress_nexus_alice;
SELECT outcome('TABLE nexus.' || quote_ident(name)) FROM unnest('{operation,operation_key,request,failed_attempt,completion,
    incarnation,endpoint_stat}'::text[]) name;
SELECT outcome('DELETE FROM nexus.operation');
SELECT outcome('INSERT INTO nexus.request SELECT');
SELECT outcome('CREATE TABLE nexus.mine ()');
SELECT outcome('SELECT nexus.pause()');
SELECT outcome('SELECT nexus.resume()');
SELECT outcome($$SELECT nexus.validate_options('{}', 0)$$);

-- Seeing needs membership in the owner's role
SET ROLE regress_nexus_bob;
SELECT operation, owner, input FROM nexus.operations ORDER BY operation COLLATE "C";
SELECT operation FROM nexus.pending_operations ORDER BY operation COLLATE "C";
SELECT count(*) FROM nexus.operation_history WHERE operation_id = :'alice';
SELECT nexus.state(:'team');
SELECT outcome(format(command, :'alice')) FROM (VALUES
    ('SELECT nexus.state(%L)'), ('SELECT nexus.result(%L)'), ('SELECT nexus.await(%L)'), ('CALL nexus.wait(%L)'),
    ('SELECT nexus.await_all(ARRAY[%L]::uuid[])'), ('SELECT nexus.cancel(%L)'), ('SELECT nexus.terminate(%L)'),
    ('SELECT nexus.retry(%L)')) v (command);
-- also of those who look through a function that costs nothing
CREATE FUNCTION pg_temp.leak(what text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
    RAISE NOTICE 'saw %', what;
    RETURN true;
END $$;
SELECT count(*) FROM nexus.operations WHERE pg_temp.leak(operation);
SELECT count(*) FROM nexus.pending_operations WHERE pg_temp.leak(operation);
SELECT count(*) FROM nexus.operation_history WHERE pg_temp.leak(attributes::text) AND operation_id = :'alice';

-- Monitors see metadata, never payloads, and may do nothing
SET ROLE regress_nexus_monitor;
SELECT operation, owner, input IS NULL, input_bytes IS NULL, headers IS NULL, summary IS NULL FROM nexus.operations
  WHERE operation LIKE 'of %' ORDER BY operation COLLATE "C";
SELECT operation, summary IS NULL FROM nexus.pending_operations ORDER BY operation COLLATE "C";
SELECT event_type, attributes IS NULL FROM nexus.operation_history WHERE operation_id = :'alice';
SELECT outcome(format('SELECT nexus.state(%L)', :'alice'));
SELECT outcome(format('SELECT nexus.terminate(%L)', :'alice'));
RESET ROLE;

-- The owner is who calls: in a function of another role, that role
CREATE FUNCTION public.schedule_for_team() RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$
    SELECT nexus.schedule('regress_off', 'hello', 'for the team') $$;
ALTER FUNCTION public.schedule_for_team() OWNER TO regress_nexus_team;
SET ROLE regress_nexus_alice;
SELECT schedule_for_team() AS id \gset
SELECT outcome(format('SELECT nexus.state(%L)', :'id'));
SET ROLE regress_nexus_bob;
SELECT owner FROM nexus.operations WHERE id = :'id';
-- of cancel and terminate it is who logged in
SELECT nexus.terminate(:'id', 'why not');
RESET ROLE;
SELECT state FROM nexus.await_all(ARRAY[:'id']::uuid[]);
SELECT failure #>> '{details,terminatedFailureInfo,identity}' = session_user, failure ->> 'message' FROM nexus.operations
  WHERE id = :'id';

-- A key of somebody else's operation is not shared; its id is not told
SET ROLE regress_nexus_team;
SELECT nexus.schedule('regress_off', 'hello', 'keyed', operation_key => 'k') AS id \gset
SET ROLE regress_nexus_alice;
SELECT outcome($$SELECT nexus.schedule('regress_off', 'hello', 'keyed', operation_key => 'k')$$);
SELECT outcome($$SELECT nexus.execute('regress_off', 'hello', 'keyed', operation_key => 'k')$$);
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER regress_off TO regress_nexus_bob;
SET ROLE regress_nexus_bob;
SELECT nexus.schedule('regress_off', 'hello', 'keyed', operation_key => 'k') = :'id';
-- What a member of the role retries is the role's, who must be allowed to send it
SELECT nexus.terminate(:'id');
SELECT state FROM nexus.await_all(ARRAY[:'id']::uuid[]);
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER regress_off FROM regress_nexus_team;
SET ROLE regress_nexus_bob;
SELECT outcome(format('SELECT nexus.retry(%L)', :'id'));
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER regress_off TO regress_nexus_team;
REVOKE USAGE ON FOREIGN SERVER regress_off FROM regress_nexus_bob;
SET ROLE regress_nexus_bob;
SELECT nexus.retry(:'id') IS NOT NULL;
SELECT state, owner FROM nexus.operations WHERE retry_of = :'id';
RESET ROLE;

-- A search_path full of traps: whatever runs says so and tries to rise
CREATE SCHEMA regress_evil AUTHORIZATION regress_nexus_alice;
GRANT CREATE ON SCHEMA regress_evil TO regress_nexus_alice;
SET ROLE regress_nexus_alice;
CREATE FUNCTION regress_evil.spring(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING 'trap % ran as %', what, current_user;
    BEGIN
        ALTER ROLE regress_nexus_alice SUPERUSER;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    RETURN true;
END $$;
DO $$
DECLARE
    type text;
    operator text;
BEGIN
    FOREACH type IN ARRAY '{uuid,text,oid,int4,int8,bool,timestamptz,interval,jsonb,bytea,name,xid8,regrole,float8,"\"char\""}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION regress_evil.compare(%1$s, %1$s) RETURNS boolean LANGUAGE sql AS
            $f$ SELECT regress_evil.spring(%2$L) $f$', type, 'operator of ' || type);
        FOREACH operator IN ARRAY '{=,<>,<,<=,>,>=,||,-,+,->>,->,@>}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR regress_evil.%s (FUNCTION = regress_evil.compare, LEFTARG = %2$s, RIGHTARG = %2$s)',
                operator, type);
        END LOOP;
    END LOOP;
    FOREACH type IN ARRAY '{now(),clock_timestamp(),current_database(),"pg_has_role(oid, text)","pg_has_role(text, text)",
        "convert_from(bytea, text)","jsonb_build_object(text, text)","jsonb_strip_nulls(jsonb)","unnest(uuid[])","count(uuid)",
        "coalesce_(text)","uuid(text)","text(uuid)","jsonb(text)","lower(text)","length(text)","trim_scale(numeric)",
        "has_server_privilege(oid, text)","row_number()","_workers()","_endpoints()","_blocked_reason(text, oid, boolean)",
        "schedule(text, text, text)","state(uuid)"}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION regress_evil.%s RETURNS boolean LANGUAGE sql AS $f$ SELECT regress_evil.spring(%2$L) $f$',
            type, 'function ' || type);
    END LOOP;
END $$;
CREATE TABLE regress_evil.operation (id uuid);
CREATE TABLE regress_evil.operation_key (id uuid);
CREATE TABLE regress_evil.request (id uuid);
CREATE TABLE regress_evil.incarnation (id uuid);
-- the traps work
SET search_path = regress_evil, pg_catalog;
SELECT 'a'::text = 'b'::text;
SELECT lower('a'::text);
RESET search_path;
-- Commands that use what is qualified only, twice each, as plans are made and kept
PREPARE make AS SELECT nexus.schedule('regress_off', 'hello', 'trapped', '{"a": 1}', headers => '{"b": "c"}', schedule_to_close_timeout => '1 day');
PREPARE make_bytes AS SELECT nexus.schedule_bytes('regress_off', 'hello', 'trapped', '{"a": 1}', 'application/json');
PREPARE run AS SELECT nexus.execute('regress_off', 'hello', 'trapped', schedule_to_close_timeout => '1ms');
PREPARE make_keyed AS SELECT nexus.schedule('regress_off', 'hello', 'trapped', operation_key => 'k', key_reuse_policy => 'allow_duplicate');
PREPARE run_keyed AS SELECT nexus.execute('regress_off', 'hello', 'trapped', operation_key => 'k', await_timeout => '1ms');
PREPARE again (uuid) AS SELECT nexus.retry($1);
PREPARE look (uuid) AS SELECT nexus.state($1), nexus.result($1);
PREPARE wait (uuid) AS SELECT nexus.await($1, '1ms');
PREPARE wait_all (uuid) AS SELECT state FROM nexus.await_all(ARRAY[$1], '1ms');
PREPARE stop (uuid) AS SELECT nexus.terminate($1, 'a'), nexus.cancel(nexus.schedule('regress_off', 'hello', 'trapped'), 'b');
PREPARE finish (uuid) AS SELECT nexus.complete($1, '{"Nexus-Pg-Token": "1.1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}', 'a');
PREPARE list AS SELECT 1 FROM nexus.operations, nexus.pending_operations, nexus.operation_history, nexus.failed_attempts,
    nexus.endpoints, nexus.stat_endpoints, nexus.workers LIMIT 0;
PREPARE list_operations AS SELECT 'seen' FROM nexus.operations LIMIT 1;
PREPARE list_pending AS SELECT 'seen' FROM nexus.pending_operations LIMIT 1;
PREPARE list_history AS SELECT 'seen' FROM nexus.operation_history LIMIT 1;
PREPARE list_endpoints AS SELECT 'seen' FROM nexus.endpoints LIMIT 1;
PREPARE list_workers AS SELECT 'seen' FROM nexus.workers LIMIT 1;
\set VERBOSITY sqlstate
\set QUIET on
\o /dev/null
EXECUTE make;
EXECUTE make_bytes;
EXECUTE run;
EXECUTE make_keyed;
EXECUTE run_keyed;
EXECUTE again (:'alice');
EXECUTE look (:'alice');
EXECUTE wait (:'alice');
EXECUTE wait_all (:'alice');
EXECUTE list;
EXECUTE list_operations;
EXECUTE list_pending;
EXECUTE list_history;
EXECUTE list_endpoints;
EXECUTE list_workers;
EXECUTE finish (:'alice');
SET search_path = regress_evil, pg_catalog;
EXECUTE make;
EXECUTE make_bytes;
EXECUTE run;
EXECUTE make_keyed;
EXECUTE run_keyed;
EXECUTE again (:'alice');
EXECUTE look (:'alice');
EXECUTE wait (:'alice');
EXECUTE wait_all (:'alice');
EXECUTE list;
EXECUTE list_operations;
EXECUTE list_pending;
EXECUTE list_history;
EXECUTE list_endpoints;
EXECUTE list_workers;
EXECUTE finish (:'alice');
EXECUTE stop (:'alice');
CALL nexus.wait(:'alice', '10s');
EXECUTE again (:'alice');
EXECUTE make;
EXECUTE list_operations;
\o
RESET search_path;
\c -
\o /dev/null
SET ROLE regress_nexus_alice;
SET search_path = regress_evil, pg_catalog;
\set VERBOSITY sqlstate
-- the same in a session that has cached nothing yet
SELECT nexus.schedule('regress_off', 'hello', 'trapped', '{"a": 1}', headers => '{"b": "c"}');
SELECT nexus.execute('regress_off', 'hello', 'trapped', schedule_to_close_timeout => '1ms');
SELECT nexus.state(:'alice'), nexus.result(:'alice');
SELECT nexus.await(:'alice', '10s');
SELECT nexus.cancel(:'alice'), nexus.terminate(:'alice'), nexus.retry(:'alice');
SELECT nexus.schedule('regress_off', 'hello', 'trapped', operation_key => 'k');
SELECT nexus.execute('regress_off', 'hello', 'trapped', operation_key => 'k2', await_timeout => '1ms');
SELECT 'seen' FROM nexus.operations LIMIT 1;
SELECT 'seen' FROM nexus.pending_operations LIMIT 1;
SELECT 'seen' FROM nexus.operation_history LIMIT 1;
SELECT 'seen' FROM nexus.endpoints LIMIT 1;
SELECT 'seen' FROM nexus.workers LIMIT 1;
\o
\set VERBOSITY default
RESET search_path;
RESET ROLE;
SELECT rolname, rolsuper FROM pg_roles WHERE rolname LIKE 'regress\_nexus\_%' ORDER BY rolname COLLATE "C";

-- A role that is gone
SELECT count(*) FILTER (WHERE nexus.terminate(id)) > 0 FROM nexus.pending_operations WHERE endpoint = 'regress_off';
SELECT DISTINCT state IN ('terminated', 'timed_out', 'canceled')
  FROM nexus.await_all(ARRAY(SELECT id FROM nexus.operations WHERE endpoint = 'regress_off'));
SET client_min_messages = error;
DROP SCHEMA regress_evil CASCADE;
DROP FUNCTION schedule_for_team();
DROP FUNCTION outcome(text);
DROP SERVER regress_off CASCADE;
DROP ROLE regress_nexus_alice, regress_nexus_bob, regress_nexus_team, regress_nexus_monitor;
SELECT nexus.state(:'alice') IN ('terminated', 'canceled');
