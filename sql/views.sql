--
-- Views: what they show of every kind of operation, and what await says of it.
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS nexus_pg;
RESET client_min_messages;
\pset format unaligned
\pset tuples_only on
\pset null NULL
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
  WHERE c.relnamespace = 'nexus'::regnamespace AND c.relkind = 'v' AND a.attnum > 0 AND NOT a.attisdropped
  ORDER BY c.relname COLLATE "C", a.attnum;
SELECT relname FROM pg_class WHERE relnamespace = 'nexus'::regnamespace AND relkind = 'v'
  AND 'security_barrier=true' <> ALL (COALESCE(reloptions, '{}'));
-- everything has a comment, every table is dumped
SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
  WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'nexus_pg')
    AND deptype = 'e' AND classid <> 'pg_type'::regclass AND obj_description(objid, classid::regclass::name) IS NULL;
SELECT relname FROM pg_class WHERE relnamespace = 'nexus'::regnamespace AND relkind = 'r'
  AND oid <> ALL (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'nexus_pg');

-- One operation of every kind, of an incarnation that no worker has: scenario 88
CREATE SERVER regress_off FOREIGN DATA WRAPPER nexus OPTIONS (url 'http://127.0.0.1:9', enabled 'false');
CREATE SERVER regress_callback FOREIGN DATA WRAPPER nexus OPTIONS (url 'http://127.0.0.1:9', callback_url 'http://callback.example');
CREATE TEMP TABLE made (LIKE nexus.operation INCLUDING DEFAULTS);
ALTER TABLE made ALTER incarnation SET DEFAULT '00000000-0000-7000-8000-000000000000',
    ALTER owner SET DEFAULT current_user::regrole, ALTER service SET DEFAULT 'hello', ALTER endpoint SET DEFAULT 'regress_off',
    ALTER cancellation_type SET DEFAULT 'wait_cancellation_completed', ALTER scheduled_time SET DEFAULT '2026-01-01 00:00:00Z';
CREATE FUNCTION pg_temp.id(n integer) RETURNS uuid LANGUAGE sql AS $$ SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
INSERT INTO made (id, operation, state, attempt, close_time, input, input_content_type, input_is_json, result, result_content_type, result_is_json, links, headers, summary, schedule_to_close_timeout)
  VALUES (pg_temp.id(1), 'sync', 'succeeded', 1, '2026-01-01 00:00:01Z', '{"in": 1}', 'application/json', true, '{"out": "ä"}', 'application/json', true,
    '[{"url": "temporal:///a", "type": "b"}]', '{"a": "b"}', 'a summary', '90 seconds');
INSERT INTO made (id, operation, state, attempt, started_time, close_time, operation_token, handler_close_time, callback_base)
  VALUES (pg_temp.id(2), 'async without a result', 'succeeded', 1, '2026-01-01 00:00:01Z', '2026-01-01 00:00:02.5Z', 'token', '2026-01-01 00:00:02Z', 'http://callback.example');
INSERT INTO made (id, operation, state, attempt, close_time, result, result_content_type)
  VALUES (pg_temp.id(3), 'bytes', 'succeeded', 1, '2026-01-01 00:00:03Z', '\xff00', 'application/octet-stream'),
    (pg_temp.id(4), 'bytes of no type', 'succeeded', 1, '2026-01-01 00:00:04Z', '', NULL);
INSERT INTO made (id, operation, state, attempt, started_time, close_time, operation_token, failure) VALUES
  (pg_temp.id(5), 'failed', 'failed', 2, NULL, '2026-01-01 00:00:05Z', NULL,
    '{"message": "outer", "metadata": {"type": "nexus.OperationError"}, "details": {"state": "failed"}, "cause": {"message": "in the middle", "cause": {"message": "the innermost", "cause": {"message": ""}}}}'),
  (pg_temp.id(6), 'failed without a word', 'failed', 1, NULL, '2026-01-01 00:00:06Z', NULL, '{}'),
  (pg_temp.id(7), 'failed at length', 'failed', 1, NULL, '2026-01-01 00:00:07Z', NULL, jsonb_build_object('message', repeat('ä', 501), 'cause', 'no failure')),
  (pg_temp.id(8), 'timed out', 'timed_out', 1, '2026-01-01 00:00:01Z', '2026-01-01 00:00:08Z', 'token',
    '{"message": "operation timed out", "metadata": {"type": "temporal.api.failure.v1.Failure"}, "details": {"timeoutFailureInfo": {"timeoutType": "TIMEOUT_TYPE_START_TO_CLOSE"}}}'),
  (pg_temp.id(9), 'timed out somehow', 'timed_out', 1, NULL, '2026-01-01 00:00:09Z', NULL, '{"message": "too late"}'),
  (pg_temp.id(10), 'terminated', 'terminated', 1, NULL, '2026-01-01 00:00:10Z', NULL,
    '{"message": "not needed", "metadata": {"type": "temporal.api.failure.v1.Failure"}, "details": {"terminatedFailureInfo": {"identity": "somebody"}}}');
INSERT INTO made (id, operation, state, attempt, started_time, close_time, operation_token, failure, cancellation_state, cancellation_requested_time, cancellation_reason, cancellation_identity, cancellation_attempt, cancellation_last_attempt_complete_time)
  VALUES (pg_temp.id(11), 'canceled', 'canceled', 1, '2026-01-01 00:00:01Z', '2026-01-01 00:00:11Z', 'token', '{"message": "as you like"}',
    'succeeded', '2026-01-01 00:00:02Z', 'because', 'somebody', 1, '2026-01-01 00:00:03Z');
INSERT INTO made (id, operation, state, attempt, started_time, operation_token, cancellation_state, cancellation_requested_time, cancellation_identity, cancellation_attempt, cancellation_last_attempt_complete_time, cancellation_last_attempt_failure, deadline, start_to_close_timeout)
  VALUES (pg_temp.id(12), 'started', 'started', 1, '2026-01-01 00:00:01Z', 'token', 'failed', '2026-01-01 00:00:02Z', 'somebody', 1, '2026-01-01 00:00:03Z',
    '{"message": "cannot cancel"}', '2126-01-01 00:00:00Z', '1 hour');
INSERT INTO made (id, endpoint, operation, state, attempt, last_attempt_complete_time, next_attempt_schedule_time, last_attempt_failure, callback_base)
  VALUES (pg_temp.id(13), 'regress_callback', 'backing off', 'backing_off', 3, '2026-01-01 00:00:05Z', '2126-01-01 00:00:00Z', '{"message": "connection refused"}', 'http://callback.example'),
    (pg_temp.id(14), 'regress_callback', 'due again', 'backing_off', 3, '2026-01-01 00:00:05Z', '2026-01-01 00:00:06Z', '{"message": "connection refused"}', 'http://callback.example');
INSERT INTO made (id, endpoint, operation, state) VALUES (pg_temp.id(15), 'regress_off', 'waiting', 'scheduled'), (pg_temp.id(16), 'regress_gone', 'waiting', 'scheduled');
INSERT INTO nexus.operation SELECT * FROM made;
INSERT INTO nexus.failed_attempt VALUES (pg_temp.id(13), 'start', 3, '2026-01-01 00:00:04Z', '1 second', 503, true, '{"message": "connection refused"}'),
    (pg_temp.id(12), 'cancel', 1, '2026-01-01 00:00:02Z', '1 second', NULL, false, '{"message": "cannot cancel"}');
CREATE VIEW pg_temp.mine AS SELECT id FROM made;

SELECT jsonb_strip_nulls(to_jsonb(o) - 'owner') FROM nexus.operations o NATURAL JOIN mine ORDER BY id;
SELECT jsonb_strip_nulls(to_jsonb(o) - 'owner') FROM nexus.pending_operations o NATURAL JOIN mine ORDER BY id;
SELECT right(operation_id::text, 2), event_id, event_time, event_type, attributes - 'request_id' FROM nexus.operation_history
  WHERE operation_id IN (SELECT id FROM mine) ORDER BY operation_id, event_id;
SELECT * FROM nexus.failed_attempts WHERE operation_id IN (SELECT id FROM mine) ORDER BY operation_id;
SELECT endpoint, url, nullif(callback_url, 'http://127.0.0.1:' || (SELECT port FROM nexus.workers WHERE kind = 'listener')), enabled, breaker_state, scheduled, backing_off, started, oldest_scheduled_time, oldest_started_time
  FROM nexus.endpoints WHERE endpoint LIKE 'regress\_%' ORDER BY endpoint COLLATE "C";
SELECT kind, state FROM nexus.workers WHERE kind = 'launcher' OR database = current_database() ORDER BY kind COLLATE "C";

-- What await, result and state make of them
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
    result text;
BEGIN
    EXECUTE command INTO result;
    RETURN COALESCE('ok | ' || result, 'ok');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n    ', SQLSTATE || ' ' || message, nullif(left(detail, 500), ''), nullif(hint, ''));
END $$;
SELECT operation || ': ' || pg_temp.outcome(format('SELECT nexus.await(%L)', id)) FROM made WHERE close_time IS NOT NULL ORDER BY id;
SELECT operation || ': ' || pg_temp.outcome(format('SELECT nexus.result(%L)', id)) FROM made WHERE close_time IS NULL OR state = 'succeeded' ORDER BY id;
SELECT DISTINCT nexus.state(id) = state FROM made;
CALL nexus.wait(pg_temp.id(1));
CALL nexus.wait(pg_temp.id(2));
SELECT right(operation_id::text, 2), state, result, left(failure::text, 100)
  FROM nexus.await_all(ARRAY[pg_temp.id(5), pg_temp.id(1), NULL, pg_temp.id(3), pg_temp.id(1)]);
-- DETAIL is for programs
CREATE FUNCTION pg_temp.detail_of(id uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM nexus.await(id);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN detail::jsonb;
END $$;
SELECT every(d ->> 'operation_id' = m.id::text AND d ->> 'endpoint' = m.endpoint AND d ->> 'service' = m.service AND d ->> 'operation' = m.operation
        AND d ->> 'operation_token' IS NOT DISTINCT FROM m.operation_token AND d -> 'failure' = m.failure)
  FROM made m, pg_temp.detail_of(m.id) d WHERE m.failure IS NOT NULL;
-- nothing is left out of what users wrote
UPDATE nexus.operation SET input = '{"a": null, "b": [null]}', input_is_json = true WHERE id = pg_temp.id(1);
SELECT attributes -> 'input' FROM nexus.operation_history WHERE operation_id = pg_temp.id(1) AND event_id = 1;

-- A cancellation in each state, by cancellation type: who goes on waiting (NX005) for an operation that is open
CREATE TEMP TABLE canceling (LIKE made INCLUDING DEFAULTS);
INSERT INTO canceling (id, endpoint, operation, state, attempt, started_time, operation_token, cancellation_type, cancellation_state,
    cancellation_requested_time, cancellation_reason, cancellation_identity, cancellation_attempt, cancellation_last_attempt_complete_time,
    cancellation_next_attempt_schedule_time, cancellation_last_attempt_failure, callback_base)
  SELECT pg_temp.id((100 + 10 * t.n + s.n)::integer), CASE s.n WHEN 4 THEN 'regress_callback' ELSE 'regress_off' END, 'canceling', 'started', 1,
      '2026-01-01 00:00:01Z', 'token', t.name, s.name,
      CASE WHEN s.name IS NOT NULL THEN timestamptz '2026-01-01 00:00:02Z' END, 'because', 'somebody', 1, '2026-01-01 00:00:03Z',
      CASE s.name WHEN 'backing_off' THEN timestamptz '2026-01-01 00:00:04Z' END,
      CASE WHEN s.name IN ('backing_off', 'failed') THEN '{"message": "", "cause": {"message": "cannot cancel"}}'::jsonb END, 'http://callback.example'
  FROM unnest(ARRAY['wait_cancellation_completed', 'wait_cancellation_requested', 'try_cancel', 'abandon']) WITH ORDINALITY t (name, n),
    unnest(ARRAY[NULL, 'requested', 'scheduled', 'backing_off', 'succeeded', 'failed', 'abandoned']) WITH ORDINALITY s (name, n);
INSERT INTO nexus.operation SELECT * FROM canceling;
SELECT cancellation_type, string_agg(concat(cancellation_state, ':', left(pg_temp.outcome(format('SELECT nexus.await(%L, ''1 ms'')', id)), 5)), ' ' ORDER BY id)
  FROM canceling GROUP BY 1 ORDER BY min(id::text);
SELECT pg_temp.outcome(format('SELECT nexus.await(%L)', id)) FROM canceling
  WHERE (cancellation_type, cancellation_state) IN (('wait_cancellation_requested', 'failed'), ('wait_cancellation_requested', 'succeeded'),
    ('try_cancel', 'scheduled'), ('abandon', 'abandoned')) ORDER BY id;
SELECT DISTINCT pg_temp.outcome(format('CALL nexus.wait(%L)', id)) = pg_temp.outcome(format('SELECT nexus.await(%L)', id)) FROM canceling
  WHERE cancellation_type IN ('try_cancel', 'abandon') AND cancellation_state IS NOT NULL;
-- what is stored shows everywhere else
SELECT DISTINCT a.state, a.result, a.failure, nexus.state(c.id), nexus.result(c.id)
  FROM canceling c, nexus.await_all(ARRAY[c.id], '1 ms') a;
SELECT DISTINCT o.cancellation_state, p.state, p.cancellation_state, p.blocked_reason FROM nexus.operations o
  JOIN nexus.pending_operations p USING (id) WHERE id IN (SELECT id FROM canceling) ORDER BY 1, 2, 3, 4;
SELECT DISTINCT o.cancellation_state, h.event_type FROM nexus.operation_history h JOIN nexus.operations o ON o.id = h.operation_id
  WHERE o.id IN (SELECT id FROM canceling) AND event_type LIKE '%Cancel%' ORDER BY 1, 2;
-- a sleeper reads it without a snapshot, which what is out of line needs
SELECT attname FROM pg_attribute WHERE attrelid = 'nexus.operation'::regclass AND atttypid = 'text'::regtype AND attstorage = 'p';
-- and where it is closed, the outcome counts for all
UPDATE nexus.operation SET state = 'succeeded', close_time = '2026-01-01 00:00:05Z' WHERE id IN (SELECT id FROM canceling);
SELECT DISTINCT pg_temp.outcome(format('SELECT nexus.await(%L)', id)) FROM canceling;

DELETE FROM nexus.operation WHERE id IN (SELECT id FROM canceling);
DELETE FROM nexus.failed_attempt WHERE operation_id IN (SELECT id FROM made);
DELETE FROM nexus.operation WHERE id IN (SELECT id FROM made);
DROP SERVER regress_off;
DROP SERVER regress_callback;
