--
-- Arguments of the functions: every error, and what is stored.
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS nexus_pg;
RESET client_min_messages;
\pset format unaligned
\pset tuples_only on
CREATE SERVER regress_off FOREIGN DATA WRAPPER nexus OPTIONS (url 'http://127.0.0.1:9', enabled 'false');
CREATE FOREIGN DATA WRAPPER regress_wrapper;
CREATE SERVER regress_other FOREIGN DATA WRAPPER regress_wrapper;

-- How a command ended, without the ids and the name of who runs this.
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN regexp_replace(regexp_replace(concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), nullif(hint, '')),
        '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'ID', 'g'), '"identity": "[^"]*"', '"identity": "WHO"');
END $$;
-- The same of a call of schedule with these arguments.
CREATE FUNCTION pg_temp.try(arguments text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.outcome('SELECT nexus.schedule(' || arguments || ')')
$$;
-- The same with an argument in addition to the required ones.
CREATE FUNCTION pg_temp.with(argument text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.try($q$'regress_off', 'hello', 'say', $q$ || argument)
$$;

-- Names: item 10, scenario 75
SELECT pg_temp.try($$NULL, 'hello', 'say'$$);
SELECT pg_temp.try($$'regress_off', NULL, 'say'$$);
SELECT pg_temp.try($$'regress_off', 'hello', NULL$$);
SELECT pg_temp.try($$'', 'hello', 'say'$$);
SELECT pg_temp.try($$'regress_off', '', 'say'$$);
SELECT pg_temp.try($$'regress_off', 'hello', ''$$);
SELECT pg_temp.try($$'regress_off', '.', 'say'$$);
SELECT pg_temp.try($$'regress_off', 'hello', '..'$$);
SELECT pg_temp.try($$'regress_off', 'hello', '...'$$);
SELECT pg_temp.try($$'regress_off', repeat('s', 1000), repeat('o', 1000)$$);
SELECT pg_temp.try($$repeat('e', 1001), 'hello', 'say'$$);
SELECT pg_temp.try($$'regress_off', repeat('s', 1001), 'say'$$);
SELECT pg_temp.try($$'regress_off', 'hello', repeat('o', 1001)$$);
SELECT pg_temp.try($$'regress_none', 'hello', 'say'$$);
SELECT pg_temp.try($$repeat('e', 100), 'hello', 'say'$$);
SELECT pg_temp.try($$'regress_other', 'hello', 'say'$$);

-- Time-outs: scenarios 43 and 75
SELECT pg_temp.with($$schedule_to_close_timeout => '-1s'$$);
SELECT pg_temp.with($$start_to_close_timeout => '1 day -25 hours'$$);
SELECT pg_temp.with($$schedule_to_start_timeout => '-1s'$$);
SELECT pg_temp.with($$schedule_to_start_timeout => '1s'$$);
SELECT pg_temp.with($$schedule_to_start_timeout => '0'$$);
SELECT nexus.schedule('regress_off', 'hello', 'timeouts', start_to_close_timeout => '200 years') AS id \gset
SELECT start_to_close_timeout FROM nexus.operations WHERE id = :'id';
-- No part takes longer than the whole, and what the endpoint allows at most holds where nothing is said: scenario 42
SELECT nexus.schedule('regress_off', 'hello', 'timeouts', schedule_to_close_timeout => '2 months 36 hours',
    schedule_to_start_timeout => '3 months', start_to_close_timeout => '1 hour') AS id \gset
SELECT schedule_to_close_timeout, schedule_to_start_timeout, start_to_close_timeout FROM nexus.operations
    WHERE id = :'id';
SELECT deadline - scheduled_time FROM nexus.pending_operations WHERE id = :'id';
ALTER SERVER regress_off OPTIONS (ADD max_schedule_to_close_timeout '2h');
SELECT nexus.schedule('regress_off', 'hello', 'timeouts', schedule_to_start_timeout => '3h',
    start_to_close_timeout => '1h') AS id \gset
SELECT schedule_to_close_timeout, schedule_to_start_timeout, start_to_close_timeout FROM nexus.operations
    WHERE id = :'id';
SELECT nexus.schedule('regress_off', 'hello', 'timeouts', schedule_to_close_timeout => '3h') AS id,
    nexus.schedule('regress_off', 'hello', 'timeouts', schedule_to_close_timeout => '1h') AS shorter \gset
SELECT schedule_to_close_timeout, schedule_to_start_timeout FROM nexus.operations WHERE id IN (:'id', :'shorter')
    ORDER BY 1;
ALTER SERVER regress_off OPTIONS (DROP max_schedule_to_close_timeout);
SELECT nexus.schedule('regress_off', 'hello', 'timeouts', schedule_to_close_timeout => '0') AS id \gset
SELECT schedule_to_close_timeout IS NULL FROM nexus.operations WHERE id = :'id';
SELECT deadline IS NULL FROM nexus.pending_operations WHERE id = :'id';

-- Words of a few, what is not built yet, and values that never will be
SELECT pg_temp.with($$cancellation_type => 'wait_cancellation_completed'$$);
SELECT pg_temp.with($$cancellation_type => NULL$$);
SELECT pg_temp.with($$cancellation_type => 'abandon'$$);
SELECT pg_temp.with($$cancellation_type => 'try_cancel'$$);
SELECT pg_temp.with($$cancellation_type => 'wait_cancellation_requested'$$);
SELECT pg_temp.with($$cancellation_type => 'Abandon'$$);
SELECT pg_temp.with($$on_completion => 'f'$$);
SELECT pg_temp.outcome($$SELECT nexus.resume('Adopt')$$);
SELECT pg_temp.outcome($$SELECT nexus.resume('')$$);

-- Keys
SELECT pg_temp.with($$operation_key => ''$$);
SELECT pg_temp.with($$operation_key => repeat('k', 1000)$$);
SELECT pg_temp.with($$operation_key => repeat('k', 1001)$$);
SELECT pg_temp.try($$'regress_off', repeat('s', 1000), repeat('o', 1000), operation_key => repeat('k', 590)$$);
SELECT pg_temp.try($$'regress_off', repeat('s', 1000), repeat('o', 1000), operation_key => repeat('k', 589)$$);
SELECT pg_temp.with($$key_reuse_policy => ''$$);
SELECT pg_temp.with($$key_reuse_policy => 'reject'$$);
SELECT pg_temp.with(format('operation_key => %L, key_reuse_policy => %L', 'k', policy))
  FROM (VALUES ('allow_duplicate_failed_only'), ('allow_duplicate'), ('reject_duplicate'), (NULL)) p (policy);
SELECT pg_temp.with($$key_reuse_policy => 'reject_duplicate'$$);
SELECT count(*), count(DISTINCT id) FROM nexus.operations WHERE operation_key = 'k' AND operation = 'say';
SELECT nexus.schedule('regress_off', 'hello', 'say', operation_key => 'k') = id,
    nexus.schedule_bytes('regress_off', 'hello', 'say', operation_key => 'k') = id,
    nexus.schedule('regress_off', 'hello', 'say', operation_key => 'K') = id,
    nexus.schedule('regress_off', 'hello', 'say', operation_key => 'k ') = id,
    nexus.schedule('regress_off', 'hello', 'say, too', operation_key => 'k') = id
  FROM nexus.operations WHERE operation_key = 'k' AND operation = 'say';

-- Headers: scenarios 75 and 77
SELECT pg_temp.with($$headers => '[]'$$);
SELECT pg_temp.with($$headers => '"a"'$$);
SELECT pg_temp.with($$headers => '{"a": 1}'$$);
SELECT pg_temp.with($$headers => '{"a": null}'$$);
SELECT pg_temp.with($$headers => '{"a": {"b": "c"}}'$$);
SELECT pg_temp.with($$headers => '{"": "a"}'$$);
SELECT pg_temp.with($$headers => '{"a": "1", "A": "2"}'$$);
SELECT pg_temp.with($$headers => '{"a b": "c"}'$$);
SELECT pg_temp.with($$headers => '{"a": "b\r\nc: d"}'$$);
SELECT pg_temp.with(format('headers => %L', jsonb_build_object(name, 'x')))
  FROM unnest('{Host,Content-Length,content-type,Connection,Transfer-Encoding,Authorization,Request-Timeout,Nexus-Request-Id,
    nexus-callback-source,Caller-Name,XDC-Redirection,Operation-Timeout}'::text[]) name;
SELECT pg_temp.with($$headers => jsonb_build_object('a', repeat('b', 8191))$$);
SELECT pg_temp.with($$headers => jsonb_build_object('a', repeat('b', 8192))$$);
SELECT nexus.schedule('regress_off', 'hello', 'headers', headers => '{"X-Mixed": "Value", "plain": "", "UP": "tab\there"}') AS id \gset
SELECT headers FROM nexus.operations WHERE id = :'id';
SELECT nexus.schedule('regress_off', 'hello', 'headers', headers => '{}') AS id \gset
SELECT headers IS NULL FROM nexus.operations WHERE id = :'id';

-- Summaries: scenario 75
SELECT pg_temp.with($$summary => repeat('s', 400)$$);
SELECT pg_temp.with($$summary => repeat('s', 401)$$);

-- Inputs
SELECT nexus.schedule('regress_off', 'hello', 'input none') AS id \gset
SELECT input IS NULL, input_bytes IS NULL, input_content_type IS NULL FROM nexus.operations WHERE id = :'id';
SELECT nexus.schedule('regress_off', 'hello', 'input null', 'null') AS id \gset
SELECT input, input_bytes, input_content_type FROM nexus.operations WHERE id = :'id';
SELECT nexus.schedule('regress_off', 'hello', 'input', '{"b": [1, 2.50], "a": "ä"}') AS id \gset
SELECT input, convert_from(input_bytes, 'UTF8'), input_content_type FROM nexus.operations WHERE id = :'id';
SELECT pg_temp.with($$to_jsonb(repeat('i', 2 * 1024 * 1024 - 2))$$);
SELECT pg_temp.with($$to_jsonb(repeat('i', 2 * 1024 * 1024 - 1))$$);

-- Inputs of any content type: which can be read as jsonb
CREATE FUNCTION pg_temp.bytes(input bytea, content_type text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    operation_id uuid := nexus.schedule_bytes('regress_off', 'hello', 'bytes', input, content_type);
BEGIN
    RETURN (SELECT concat_ws(' | ', COALESCE(o.input::text, 'no jsonb'), COALESCE(encode(o.input_bytes, 'escape'), 'no body'),
        COALESCE(o.input_content_type, 'no type')) FROM nexus.operations o WHERE o.id = operation_id);
END $$;
SELECT pg_temp.bytes('\x00ff', 'application/octet-stream');
SELECT pg_temp.bytes('\x00ff', NULL);
SELECT pg_temp.bytes('', 'text/plain');
SELECT pg_temp.bytes(NULL, 'text/plain');
SELECT pg_temp.bytes('{"a": 1}', 'application/json');
SELECT pg_temp.bytes('{"a": 1}', 'Application/JSON ; charset=utf-8');
SELECT pg_temp.bytes('{"a": 1}', 'application/jsonp');
SELECT pg_temp.bytes('{"a": 1', 'application/json');
SELECT pg_temp.bytes('', 'application/json');
SELECT pg_temp.bytes('\x22ff22', 'application/json');
SELECT pg_temp.bytes('"\\u0000"', 'application/json');
SELECT pg_temp.bytes('"\\u00e4\\ud83d\\ude00"', 'application/json');
SELECT pg_temp.bytes('"\\ud83d"', 'application/json');
SELECT pg_temp.bytes('1e999999', 'application/json');
SELECT pg_temp.bytes('12345678901234567890.5', 'application/json');
SELECT left(pg_temp.bytes(repeat('[', 10000)::bytea, 'application/json'), 20);
SELECT pg_temp.outcome($$SELECT pg_temp.bytes('a', '')$$);
SELECT pg_temp.outcome($$SELECT pg_temp.bytes('a', E'text/plain\r\nx: y')$$);
SELECT pg_temp.outcome($$SELECT pg_temp.bytes('a', repeat('t', 8193))$$);
SELECT pg_temp.outcome($$SELECT pg_temp.bytes(repeat('i', 2 * 1024 * 1024)::bytea, 'text/plain')$$);
SELECT pg_temp.outcome($$SELECT pg_temp.bytes(repeat('i', 2 * 1024 * 1024 + 1)::bytea, 'text/plain')$$);
SELECT pg_temp.outcome($$SELECT nexus.schedule_bytes('regress_off', 'hello', NULL)$$);
SELECT pg_temp.outcome($$SELECT nexus.schedule_bytes('regress_off', 'hello', 'bytes', headers => '{"Host": "a"}')$$);
SELECT nexus.schedule_bytes('regress_off', 'hello', 'bytes', 'a', summary => 'a summary', schedule_to_close_timeout => '1 hour') AS id \gset
SELECT input_content_type, summary, schedule_to_close_timeout FROM nexus.operations WHERE id = :'id';

-- Ids are of version 7 and ascend in a session
SELECT every(id::text LIKE '________-____-7%'), every(id > previous)
  FROM (SELECT id, lag(id) OVER () AS previous
          FROM (SELECT nexus.schedule('regress_off', 'hello', 'ids') AS id FROM generate_series(1, 1000)) made) pairs
  WHERE previous IS NOT NULL;

-- Nothing, and nobody's: scenario 90
SELECT nexus.state(NULL) IS NULL, nexus.result(NULL) IS NULL, nexus.await(NULL) IS NULL, nexus.cancel(NULL) IS NULL,
    nexus.terminate(NULL) IS NULL, nexus.retry(NULL) IS NULL;
SELECT count(*) FROM nexus.await_all(NULL);
SELECT count(*) FROM nexus.await_all('{}');
SELECT operation_id IS NULL AND state IS NULL AND result IS NULL AND failure IS NULL FROM nexus.await_all('{NULL, NULL}');
CALL nexus.wait(NULL);
SELECT pg_temp.outcome(format(command, '01890a5d-ac96-774b-bcce-b302099a8057')) FROM (VALUES
    ('SELECT nexus.state(%L)'), ('SELECT nexus.result(%L)'), ('SELECT nexus.await(%L)'), ('CALL nexus.wait(%L)'),
    ('SELECT nexus.await_all(ARRAY[NULL, %L]::uuid[])'), ('SELECT nexus.cancel(%L)'), ('SELECT nexus.terminate(%L)'),
    ('SELECT nexus.retry(%L)')) v (command);

-- Waiting for what this transaction scheduled
BEGIN;
SELECT nexus.schedule('regress_off', 'hello', 'own') AS id \gset
SELECT nexus.state(:'id');
SELECT nexus.result(:'id') IS NULL;
SELECT pg_temp.outcome(format('SELECT nexus.await(%L)', :'id'));
SELECT pg_temp.outcome(format('CALL nexus.wait(%L)', :'id'));
SELECT pg_temp.outcome(format('SELECT nexus.await_all(ARRAY[%L]::uuid[])', :'id'));
SAVEPOINT s;
SELECT nexus.schedule('regress_off', 'hello', 'own') AS id2 \gset
SELECT pg_temp.outcome(format('SELECT nexus.await(%L)', :'id2'));
ROLLBACK TO s;
SELECT pg_temp.outcome(format('SELECT nexus.state(%L)', :'id2'));
COMMIT;
\set VERBOSITY sqlstate
DO $$ DECLARE result jsonb; BEGIN CALL nexus.wait(nexus.schedule('regress_off', 'hello', 'own'), result => result); END $$;
CALL nexus.wait(:'id', '10ms');
\set VERBOSITY default

-- How long to wait
SELECT pg_temp.outcome(format($$SELECT nexus.await(%L, '-1s')$$, :'id'));
SELECT pg_temp.outcome(format($$CALL nexus.wait(%L, '-1s')$$, :'id'));
SELECT pg_temp.outcome(format($$SELECT nexus.await_all(ARRAY[%L]::uuid[], '-1s')$$, :'id'));
SELECT pg_temp.outcome($$SELECT nexus.execute('regress_off', 'hello', 'say', await_timeout => '-1s')$$);
SELECT pg_temp.outcome(format($$SELECT nexus.await(%L, '10ms')$$, :'id'));
SELECT pg_temp.outcome(format($$CALL nexus.wait(%L, '10ms')$$, :'id'));
SELECT operation_id = :'id', state, result IS NULL, failure IS NULL FROM nexus.await_all(ARRAY[NULL, :'id']::uuid[], '10ms');
SET nexus_pg.await_timeout = '10ms';
SELECT pg_temp.outcome(format($$SELECT nexus.await(%L)$$, :'id'));
RESET nexus_pg.await_timeout;

-- Outcomes that need no handler
SELECT pg_temp.outcome(format('SELECT nexus.cancel(%L, repeat(%L, 1001))', :'id', 'r'));
SELECT pg_temp.outcome(format('SELECT nexus.terminate(%L, repeat(%L, 1001))', :'id', 'r'));
BEGIN;
SELECT nexus.terminate(:'id', 'not needed');
SELECT nexus.terminate(:'id', 'again');
SELECT nexus.state(:'id');
COMMIT;
SELECT pg_temp.outcome(format('SELECT nexus.await(%L)', :'id'));
SELECT pg_temp.outcome(format('CALL nexus.wait(%L)', :'id'));
SELECT state, result IS NULL, failure ->> 'message' FROM nexus.await_all(ARRAY[:'id']::uuid[]);
SELECT nexus.state(:'id'), nexus.result(:'id') IS NULL, nexus.terminate(:'id'), nexus.cancel(:'id');

SELECT nexus.schedule('regress_off', 'hello', 'canceled') AS id \gset
SELECT nexus.cancel(:'id', repeat('r', 1000)), nexus.cancel(:'id');
SELECT pg_temp.outcome(format('SELECT nexus.await(%L)', :'id'));
SELECT nexus.cancel(:'id');

SELECT nexus.schedule('regress_off', 'hello', 'late', schedule_to_close_timeout => '1ms') AS id \gset
SELECT pg_temp.outcome(format('SELECT nexus.await(%L)', :'id'));

SELECT array_agg(nexus.schedule('regress_off', 'hello', 'many', to_jsonb(i))) AS ids FROM generate_series(1, 5) i \gset
SELECT count(*) FILTER (WHERE nexus.terminate(id)) FROM unnest(:'ids'::uuid[]) id;
SELECT every(a.operation_id = i.id AND a.state = 'terminated') FROM nexus.await_all(:'ids') WITH ORDINALITY a
  JOIN unnest(:'ids'::uuid[]) WITH ORDINALITY i (id, ordinality) USING (ordinality);

-- Execute: the same checks, and a transaction of its own
SELECT pg_temp.outcome($$SELECT nexus.execute(NULL, 'hello', 'say')$$);
SELECT pg_temp.outcome($$SELECT nexus.execute('regress_none', 'hello', 'say')$$);
SELECT pg_temp.outcome($$SELECT nexus.execute('regress_off', 'hello', 'say', headers => '{"Host": "a"}')$$);
SELECT pg_temp.outcome($$SELECT nexus.execute('regress_off', 'hello', 'say', operation_key => '')$$);
SELECT pg_temp.outcome($$SELECT nexus.execute('regress_off', 'hello', 'say', operation_key => 'k', await_timeout => '50ms')$$);
BEGIN;
SELECT nexus.schedule('regress_off', 'hello', 'keyed', operation_key => 'k') IS NOT NULL;
SELECT pg_temp.outcome($$SELECT nexus.execute('regress_off', 'hello', 'keyed', operation_key => 'k')$$);
ROLLBACK;
BEGIN;
SELECT pg_temp.outcome($$SELECT nexus.execute('regress_off', 'hello', 'executed', '{"a": 1}', schedule_to_close_timeout => '100ms',
    headers => '{"X-A": "b"}', summary => 'of execute')$$);
ROLLBACK;
SELECT state, owner = current_user::regrole, input, headers, summary, schedule_to_close_timeout
  FROM nexus.operations WHERE operation = 'executed';

-- Retry: a new operation where one closed without success, once
SELECT nexus.schedule('regress_off', 'hello', 'retried', '{"a": 1}', '1 hour', '20 min', '30 min', headers => '{"X-A": "b"}',
    summary => 'of schedule', operation_key => 'retried') AS old_id \gset
SELECT nexus.retry(:'old_id') IS NULL AS "nothing to retry";
SELECT nexus.terminate(:'old_id');
SELECT state FROM nexus.await_all(ARRAY[:'old_id']::uuid[]);
SELECT nexus.retry(:'old_id') AS new_id \gset
SELECT :'new_id' <> :'old_id', nexus.retry(:'old_id') = :'new_id', nexus.retry(:'new_id') IS NULL;
SELECT id = :'new_id', retry_of = :'old_id', state, owner = current_user::regrole, input, input_content_type, headers, summary,
    operation_key, schedule_to_close_timeout, schedule_to_start_timeout, start_to_close_timeout, cancellation_type
  FROM nexus.operations WHERE retry_of IS NOT NULL;
SELECT deadline - scheduled_time FROM nexus.pending_operations WHERE id = :'new_id';
SELECT generation, operation_id = :'new_id' FROM nexus.operation_key WHERE key = 'retried' ORDER BY generation;
-- A later one of its key stands in the way
SELECT nexus.terminate(:'new_id');
SELECT state FROM nexus.await_all(ARRAY[:'new_id']::uuid[]);
SELECT nexus.schedule('regress_off', 'hello', 'retried', operation_key => 'retried') IS NOT NULL;
SELECT nexus.retry(:'old_id') = :'new_id';
SELECT pg_temp.outcome(format('SELECT nexus.retry(%L)', :'new_id'));

-- Complete: what a handler would be told
SELECT pg_temp.outcome($$SELECT nexus.complete(NULL, '{}')$$);
SELECT pg_temp.outcome(format($$SELECT nexus.complete(%L, NULL)$$, :'id'));
SELECT pg_temp.outcome(format($$SELECT nexus.complete(%L, '{"a": 1}')$$, :'id'));
SELECT pg_temp.outcome(format($$SELECT nexus.complete(%L, '[]')$$, :'id'));
SELECT pg_temp.outcome(format($$SELECT nexus.complete(%L, '{}')$$, :'id'));
SELECT pg_temp.outcome(format($$SELECT nexus.complete(%L, '{"Nexus-Pg-Token": "nonsense"}')$$, :'id'));
SELECT pg_temp.outcome(format($$SELECT nexus.complete(%L, '{"Nexus-Pg-Token": "1.1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}')$$, :'id'));
SELECT pg_temp.outcome(format($$SELECT nexus.complete(%L, '{}', repeat('b', 2 * 1024 * 1024 + 1)::bytea)$$, :'id'));

-- Read-only transactions
BEGIN READ ONLY;
SELECT nexus.state(:'id'), nexus.result(:'id') IS NULL;
SELECT pg_temp.outcome(format(command, :'id')) FROM (VALUES
    ('SELECT nexus.schedule(''regress_off'', ''hello'', %L)'), ('SELECT nexus.schedule_bytes(''regress_off'', ''hello'', %L)'),
    ('SELECT nexus.execute(''regress_off'', ''hello'', %L)'), ('SELECT nexus.await(%L)'), ('CALL nexus.wait(%L)'),
    ('SELECT nexus.await_all(ARRAY[%L]::uuid[])'), ('SELECT nexus.cancel(%L)'), ('SELECT nexus.terminate(%L)'),
    ('SELECT nexus.complete(%L, ''{}'')'), ('SELECT nexus.retry(%L)')) v (command);
COMMIT;

-- Nothing of it is left in the way
BEGIN;
SELECT nexus.schedule('regress_off', 'hello', 'before the drop') IS NOT NULL;
SAVEPOINT s;
SET LOCAL client_min_messages = error;
DROP EXTENSION nexus_pg CASCADE;
ROLLBACK TO s;
SELECT nexus.schedule('regress_off', 'hello', 'after the drop') IS NOT NULL;
ROLLBACK;
SELECT count(*) FILTER (WHERE nexus.terminate(id)) > 0 FROM nexus.pending_operations WHERE endpoint = 'regress_off';
SELECT DISTINCT state COLLATE "C" FROM nexus.await_all(ARRAY(SELECT id FROM nexus.operations WHERE endpoint = 'regress_off'))
  ORDER BY 1;
DROP SERVER regress_off;
DROP SERVER regress_other;
DROP FOREIGN DATA WRAPPER regress_wrapper;
