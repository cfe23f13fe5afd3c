/* sql/nexus_pg--0.1.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION nexus_pg" to load this file. \quit

-- every unqualified name below is PostgreSQL's own
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA nexus;
GRANT USAGE ON SCHEMA nexus TO PUBLIC;

-- tables: nobody but their owner touches them; functions and views are the way in

CREATE TABLE nexus.operation (
    id uuid NOT NULL,
    xid xid8,
    incarnation uuid NOT NULL,
    endpoint text NOT NULL,
    service text NOT NULL,
    operation text NOT NULL,
    owner regrole NOT NULL,
    state text NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    scheduled_time timestamptz NOT NULL,
    started_time timestamptz,
    close_time timestamptz,
    last_attempt_complete_time timestamptz,
    next_attempt_schedule_time timestamptz,
    deadline timestamptz,
    schedule_to_close_timeout interval,
    schedule_to_start_timeout interval,
    start_to_close_timeout interval,
    cancellation_type text NOT NULL,
    callback_base text,
    operation_key text,
    summary text,
    headers jsonb,
    input bytea,
    input_content_type text,
    input_is_json boolean NOT NULL DEFAULT false,
    operation_token text,
    result bytea,
    result_content_type text,
    result_is_json boolean NOT NULL DEFAULT false,
    failure jsonb,
    last_attempt_failure jsonb,
    links jsonb,
    handler_close_time timestamptz,
    cancellation_state text,
    cancellation_requested_time timestamptz,
    cancellation_reason text,
    cancellation_identity text,
    cancellation_attempt integer,
    cancellation_last_attempt_complete_time timestamptz,
    cancellation_next_attempt_schedule_time timestamptz,
    cancellation_last_attempt_failure jsonb,
    on_completion text,
    completion_state text,
    retry_of uuid,
    CONSTRAINT operation_pkey PRIMARY KEY (id),
    CONSTRAINT operation_state_check CHECK (state = ANY (ARRAY['scheduled', 'backing_off', 'started',
        'succeeded', 'failed', 'canceled', 'timed_out', 'terminated']))
) WITH (fillfactor = 90, toast_tuple_target = 256, vacuum_truncate = off,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0,
    -- out of line a row is many chunks, so a share of what is there, too
    toast.vacuum_truncate = off, toast.autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_threshold = 5000, toast.autovacuum_vacuum_scale_factor = 0.1);
-- of a few words, and read by sleepers that hold no snapshot: never out of line
ALTER TABLE nexus.operation ALTER COLUMN cancellation_type SET STORAGE PLAIN;
CREATE INDEX operation_arrival ON nexus.operation (xid, id) WHERE state = 'scheduled';
CREATE INDEX operation_queue ON nexus.operation (endpoint, xid, id) WHERE state = 'scheduled';
CREATE INDEX operation_retry ON nexus.operation (endpoint, next_attempt_schedule_time, id)
    WHERE state = 'backing_off';
CREATE INDEX operation_deadline ON nexus.operation (deadline, id) WHERE close_time IS NULL AND deadline IS NOT NULL;
CREATE INDEX operation_business_id ON nexus.operation (operation_key) WHERE operation_key IS NOT NULL;
CREATE INDEX operation_closed ON nexus.operation (close_time) WHERE close_time IS NOT NULL;

CREATE TABLE nexus.operation_key (
    endpoint text NOT NULL,
    service text NOT NULL,
    operation text NOT NULL,
    key text NOT NULL,
    generation integer NOT NULL,
    operation_id uuid NOT NULL,
    CONSTRAINT operation_key_pkey PRIMARY KEY (endpoint, service, operation, key, generation)
) WITH (vacuum_truncate = off);

CREATE TABLE nexus.request (
    id uuid NOT NULL,
    xid xid8 NOT NULL,
    incarnation uuid NOT NULL,
    kind text NOT NULL,
    operation_id uuid NOT NULL,
    requested_time timestamptz NOT NULL,
    reason text,
    identity text NOT NULL,
    CONSTRAINT request_pkey PRIMARY KEY (operation_id, kind),
    CONSTRAINT request_kind_check CHECK (kind = ANY (ARRAY['cancel', 'terminate', 'retry', 'retry_as_new', 'pause',
        'resume']))
) WITH (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
-- 'retry_as_new' is for those who ask again, not for the worker
CREATE INDEX request_arrival ON nexus.request (xid, id) WHERE kind <> 'retry_as_new';

CREATE TABLE nexus.failed_attempt (
    operation_id uuid NOT NULL,
    kind text NOT NULL,
    attempt integer NOT NULL,
    started_time timestamptz NOT NULL,
    duration interval NOT NULL,
    http_status integer,
    retryable boolean NOT NULL,
    failure jsonb NOT NULL,
    CONSTRAINT failed_attempt_pkey PRIMARY KEY (operation_id, kind, attempt),
    CONSTRAINT failed_attempt_kind_check CHECK (kind = ANY (ARRAY['start', 'cancel', 'completion']))
) WITH (vacuum_truncate = off);

CREATE TABLE nexus.completion (
    operation_id uuid NOT NULL,
    owner regrole NOT NULL,
    function text NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    due_time timestamptz NOT NULL,
    CONSTRAINT completion_pkey PRIMARY KEY (operation_id)
) WITH (vacuum_truncate = off);
CREATE INDEX completion_due ON nexus.completion (owner, due_time, operation_id);

CREATE TABLE nexus.incarnation (
    id uuid NOT NULL,
    key_number integer NOT NULL,
    key bytea NOT NULL,
    identity text NOT NULL,
    database oid NOT NULL,
    created_time timestamptz NOT NULL,
    adopted_by uuid,
    paused boolean NOT NULL DEFAULT false,
    CONSTRAINT incarnation_pkey PRIMARY KEY (id, key_number),
    CONSTRAINT incarnation_here UNIQUE (identity, database, key_number)
);

CREATE TABLE nexus.endpoint_stat (
    endpoint text NOT NULL,
    attempts bigint NOT NULL DEFAULT 0,
    attempt_failures bigint NOT NULL DEFAULT 0,
    attempt_time double precision NOT NULL DEFAULT 0,
    started bigint NOT NULL DEFAULT 0,
    succeeded bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    canceled bigint NOT NULL DEFAULT 0,
    timed_out bigint NOT NULL DEFAULT 0,
    terminated bigint NOT NULL DEFAULT 0,
    schedule_to_close_time double precision NOT NULL DEFAULT 0,
    stats_reset timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_close_time timestamptz,
    CONSTRAINT endpoint_stat_pkey PRIMARY KEY (endpoint)
) WITH (fillfactor = 50, vacuum_truncate = off);

SELECT pg_extension_config_dump('nexus.operation', '');
SELECT pg_extension_config_dump('nexus.operation_key', '');
SELECT pg_extension_config_dump('nexus.request', '');
SELECT pg_extension_config_dump('nexus.failed_attempt', '');
SELECT pg_extension_config_dump('nexus.completion', '');
SELECT pg_extension_config_dump('nexus.incarnation', '');
SELECT pg_extension_config_dump('nexus.endpoint_stat', '');

-- endpoints: foreign servers of a wrapper without tables

CREATE FUNCTION nexus.validate_options(options text[], catalog oid) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_validate_options';

CREATE FOREIGN DATA WRAPPER nexus NO HANDLER VALIDATOR nexus.validate_options;

-- public functions

CREATE FUNCTION nexus.schedule(endpoint text, service text, operation text, input jsonb DEFAULT NULL,
        schedule_to_close_timeout interval DEFAULT NULL, schedule_to_start_timeout interval DEFAULT NULL,
        start_to_close_timeout interval DEFAULT NULL, cancellation_type text DEFAULT 'wait_cancellation_completed',
        headers jsonb DEFAULT NULL, summary text DEFAULT NULL, operation_key text DEFAULT NULL,
        key_reuse_policy text DEFAULT 'allow_duplicate_failed_only', on_completion text DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_schedule';

CREATE FUNCTION nexus.schedule_bytes(endpoint text, service text, operation text, input bytea DEFAULT NULL,
        content_type text DEFAULT 'application/octet-stream',
        schedule_to_close_timeout interval DEFAULT NULL, schedule_to_start_timeout interval DEFAULT NULL,
        start_to_close_timeout interval DEFAULT NULL, cancellation_type text DEFAULT 'wait_cancellation_completed',
        headers jsonb DEFAULT NULL, summary text DEFAULT NULL, operation_key text DEFAULT NULL,
        key_reuse_policy text DEFAULT 'allow_duplicate_failed_only', on_completion text DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_schedule_bytes';

CREATE FUNCTION nexus.execute(endpoint text, service text, operation text, input jsonb DEFAULT NULL,
        schedule_to_close_timeout interval DEFAULT NULL, schedule_to_start_timeout interval DEFAULT NULL,
        start_to_close_timeout interval DEFAULT NULL, cancellation_type text DEFAULT 'wait_cancellation_completed',
        headers jsonb DEFAULT NULL, summary text DEFAULT NULL, operation_key text DEFAULT NULL,
        key_reuse_policy text DEFAULT 'allow_duplicate_failed_only', on_completion text DEFAULT NULL,
        await_timeout interval DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_execute';

CREATE FUNCTION nexus.await(operation_id uuid, timeout interval DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_await';

CREATE PROCEDURE nexus.wait(operation_id uuid, timeout interval DEFAULT NULL, INOUT result jsonb DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'nexus_wait';

CREATE FUNCTION nexus.await_all(operation_ids uuid[], timeout interval DEFAULT NULL)
    RETURNS TABLE (operation_id uuid, state text, result jsonb, failure jsonb)
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_await_all';

CREATE FUNCTION nexus.state(operation_id uuid) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_state';

CREATE FUNCTION nexus.result(operation_id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_result';

CREATE FUNCTION nexus.cancel(operation_id uuid, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_cancel';

CREATE FUNCTION nexus.terminate(operation_id uuid, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_terminate';

CREATE FUNCTION nexus.retry(operation_id uuid) RETURNS uuid
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_retry';

CREATE FUNCTION nexus.complete(operation_id uuid, headers jsonb, body bytea DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_complete';

CREATE FUNCTION nexus.pause() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_pause';

CREATE FUNCTION nexus.resume(copied_operations text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nexus_resume';

-- private functions behind the views: what only shared memory knows

CREATE FUNCTION nexus._workers(OUT kind text, OUT database text, OUT pid integer, OUT state text, OUT port integer,
        OUT in_flight integer, OUT queued integer, OUT rejected bigint, OUT last_error text,
        OUT last_error_time timestamptz) RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'nexus_workers';

CREATE FUNCTION nexus._endpoints(OUT endpoint text, OUT owner oid, OUT url text, OUT callback_url text, OUT enabled boolean,
        OUT breaker_state text, OUT breaker_until timestamptz, OUT in_flight integer, OUT last_failure text,
        OUT last_failure_time timestamptz) RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'nexus_endpoints';

CREATE FUNCTION nexus._blocked_reason(endpoint text, owner oid, has_callback_base boolean) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'nexus_blocked_reason';

-- views

CREATE VIEW nexus.operations WITH (security_barrier) AS
SELECT o.id, o.endpoint, o.service, o.operation, o.owner, o.state,
    CASE WHEN v.mine THEN o.summary END AS summary,
    o.operation_key,
    CASE WHEN v.mine THEN o.operation_token END AS operation_token,
    o.attempt, o.scheduled_time, o.started_time, o.close_time, o.last_attempt_complete_time, o.next_attempt_schedule_time,
    o.schedule_to_close_timeout, o.schedule_to_start_timeout, o.start_to_close_timeout,
    o.cancellation_type, o.cancellation_state,
    CASE WHEN v.mine AND o.input_is_json THEN convert_from(o.input, 'UTF8')::jsonb END AS input,
    CASE WHEN v.mine AND o.result_is_json THEN convert_from(o.result, 'UTF8')::jsonb END AS result,
    CASE WHEN v.mine THEN o.failure END AS failure,
    CASE WHEN v.mine THEN o.headers END AS headers,
    CASE WHEN v.mine THEN o.links END AS links,
    o.on_completion, o.completion_state, o.retry_of,
    CASE WHEN v.mine THEN o.input END AS input_bytes, o.input_content_type,
    CASE WHEN v.mine THEN o.result END AS result_bytes, o.result_content_type
FROM nexus.operation o
CROSS JOIN LATERAL (SELECT pg_has_role(o.owner::oid, 'USAGE') AS mine) v
WHERE v.mine OR pg_has_role('pg_monitor', 'USAGE');

CREATE VIEW nexus.pending_operations WITH (security_barrier) AS
SELECT o.id, o.endpoint, o.service, o.operation, o.owner,
    CASE WHEN v.mine THEN o.operation_token END AS operation_token,
    CASE WHEN b.reason IS NOT NULL AND o.state <> 'started' THEN 'blocked'
        WHEN o.state = 'backing_off'
            AND o.next_attempt_schedule_time <= clock_timestamp() THEN 'scheduled'
        ELSE o.state END AS state,
    b.reason AS blocked_reason,
    o.attempt, o.scheduled_time, o.started_time, o.last_attempt_complete_time,
    CASE WHEN v.mine THEN o.last_attempt_failure END AS last_attempt_failure,
    CASE WHEN o.next_attempt_schedule_time > clock_timestamp() THEN o.next_attempt_schedule_time END AS next_attempt_schedule_time,
    o.deadline,
    CASE WHEN b.reason IS NOT NULL AND o.state = 'started' THEN 'blocked'
        WHEN o.cancellation_state = 'backing_off'
            AND o.cancellation_next_attempt_schedule_time <= clock_timestamp() THEN 'scheduled'
        ELSE o.cancellation_state END AS cancellation_state,
    o.cancellation_requested_time, o.cancellation_attempt,
    CASE WHEN v.mine THEN o.cancellation_last_attempt_failure END AS cancellation_last_attempt_failure,
    CASE WHEN v.mine THEN o.summary END AS summary
FROM nexus.operation o
CROSS JOIN LATERAL (SELECT pg_has_role(o.owner::oid, 'USAGE') AS mine) v
CROSS JOIN LATERAL (SELECT CASE WHEN o.state <> 'started' OR o.cancellation_state IN ('scheduled', 'backing_off')
    THEN nexus._blocked_reason(o.endpoint, o.owner::oid, o.callback_base IS NOT NULL) END AS reason) r
-- a cancel request needs no callback
CROSS JOIN LATERAL (SELECT CASE WHEN o.state <> 'started' OR r.reason NOT IN ('no_callback_url', 'listener_down')
    THEN r.reason END AS reason) b
WHERE o.close_time IS NULL AND (v.mine OR pg_has_role('pg_monitor', 'USAGE'));

CREATE VIEW nexus.operation_history WITH (security_barrier) AS
SELECT o.id AS operation_id, e.event_id, e.event_time, e.event_type,
    CASE WHEN pg_has_role(o.owner::oid, 'USAGE') THEN e.attributes END AS attributes
FROM nexus.operation o
CROSS JOIN LATERAL (
    -- scheduled first and closed last, whatever the clock says by which the handler tells when it began
    SELECT row_number() OVER (ORDER BY v.rank = 5, v.rank <> 1, v.event_time, v.rank) AS event_id,
        v.event_time, v.event_type,
        -- what does not apply is left out, but nothing within what users wrote
        (SELECT jsonb_object_agg(a.key, a.value) FROM jsonb_each(v.attributes) a
         WHERE a.value <> 'null' OR (a.key = 'input' AND o.input_is_json) OR (a.key = 'result' AND o.result_is_json))
        AS attributes
    FROM (VALUES
        (o.scheduled_time, 1, 'NexusOperationScheduled', jsonb_build_object(
            'endpoint', o.endpoint, 'service', o.service, 'operation', o.operation, 'request_id', o.id,
            'input', CASE WHEN o.input_is_json THEN convert_from(o.input, 'UTF8')::jsonb END,
            'schedule_to_close_timeout', trim_scale(EXTRACT(epoch FROM o.schedule_to_close_timeout)) || 's',
            'schedule_to_start_timeout', trim_scale(EXTRACT(epoch FROM o.schedule_to_start_timeout)) || 's',
            'start_to_close_timeout', trim_scale(EXTRACT(epoch FROM o.start_to_close_timeout)) || 's',
            'nexus_header', o.headers, 'summary', o.summary)),
        (o.started_time, 3, 'NexusOperationStarted', jsonb_build_object(
            'scheduled_event_id', 1, 'request_id', o.id, 'operation_token', o.operation_token, 'links', o.links)),
        -- none for an abandoned one, of which the handler is not told
        (CASE WHEN o.cancellation_state <> 'abandoned' THEN o.cancellation_requested_time END,
            2, 'NexusOperationCancelRequested', jsonb_build_object(
            'scheduled_event_id', 1, 'reason', o.cancellation_reason, 'identity', o.cancellation_identity)),
        (CASE WHEN o.cancellation_state = 'succeeded' THEN o.cancellation_last_attempt_complete_time END,
            4, 'NexusOperationCancelRequestCompleted', jsonb_build_object('scheduled_event_id', 1)),
        (CASE WHEN o.cancellation_state = 'failed' THEN o.cancellation_last_attempt_complete_time END,
            4, 'NexusOperationCancelRequestFailed', jsonb_build_object('scheduled_event_id', 1,
            'failure', o.cancellation_last_attempt_failure)),
        (o.close_time, 5, CASE o.state WHEN 'succeeded' THEN 'NexusOperationCompleted' WHEN 'failed' THEN 'NexusOperationFailed'
            WHEN 'canceled' THEN 'NexusOperationCanceled' WHEN 'timed_out' THEN 'NexusOperationTimedOut'
            WHEN 'terminated' THEN 'NexusOperationTerminated' END,
            jsonb_build_object('scheduled_event_id', 1, 'request_id', o.id,
            'result', CASE WHEN o.result_is_json THEN convert_from(o.result, 'UTF8')::jsonb END,
            'failure', o.failure, 'handler_close_time', o.handler_close_time,
            'reason', CASE o.state WHEN 'terminated' THEN o.failure ->> 'message' END,
            'identity', CASE o.state WHEN 'terminated' THEN o.failure #>> '{details,terminatedFailureInfo,identity}' END,
            'links', CASE WHEN o.started_time IS NULL THEN o.links END))
    ) AS v (event_time, rank, event_type, attributes)
    WHERE v.event_time IS NOT NULL
) e
WHERE pg_has_role(o.owner::oid, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE');

CREATE VIEW nexus.failed_attempts WITH (security_barrier) AS
SELECT a.operation_id, a.kind, a.attempt, a.started_time, a.duration, a.http_status, a.retryable,
    CASE WHEN v.mine THEN a.failure END AS failure
FROM nexus.failed_attempt a
JOIN nexus.operation o ON o.id = a.operation_id
CROSS JOIN LATERAL (SELECT pg_has_role(o.owner::oid, 'USAGE') AS mine) v
WHERE v.mine OR pg_has_role('pg_monitor', 'USAGE');

CREATE VIEW nexus.endpoints WITH (security_barrier) AS
SELECT e.endpoint, e.owner::regrole AS owner, e.url, e.callback_url, e.enabled, e.breaker_state, e.breaker_until,
    e.in_flight, COALESCE(c.scheduled, 0) AS scheduled, COALESCE(c.backing_off, 0) AS backing_off,
    COALESCE(c.started, 0) AS started, c.oldest_scheduled_time, c.oldest_started_time, e.last_failure, e.last_failure_time
FROM nexus._endpoints() e
LEFT JOIN (
    SELECT o.endpoint,
        count(*) FILTER (WHERE o.state = 'scheduled') AS scheduled,
        count(*) FILTER (WHERE o.state = 'backing_off') AS backing_off,
        count(*) FILTER (WHERE o.state = 'started') AS started,
        min(o.scheduled_time) AS oldest_scheduled_time,
        min(o.started_time) AS oldest_started_time
    FROM nexus.operation o WHERE o.close_time IS NULL GROUP BY o.endpoint
) c ON c.endpoint = e.endpoint;

-- what was ever scheduled is what has closed and what is open: exact across crashes, and free to count
CREATE VIEW nexus.stat_endpoints WITH (security_barrier) AS
SELECT e.endpoint,
    COALESCE(s.succeeded + s.failed + s.canceled + s.timed_out + s.terminated, 0) + COALESCE(c.open, 0) AS scheduled,
    COALESCE(s.attempts, 0) AS attempts, COALESCE(s.attempt_failures, 0) AS attempt_failures,
    COALESCE(s.attempt_time, 0) AS attempt_time, COALESCE(s.started, 0) AS started,
    COALESCE(s.succeeded, 0) AS succeeded, COALESCE(s.failed, 0) AS failed, COALESCE(s.canceled, 0) AS canceled,
    COALESCE(s.timed_out, 0) AS timed_out, COALESCE(s.terminated, 0) AS terminated,
    COALESCE(s.schedule_to_close_time, 0) AS schedule_to_close_time, s.stats_reset
FROM nexus.endpoint_stat s
FULL JOIN (
    SELECT o.endpoint, count(*) AS open FROM nexus.operation o WHERE o.close_time IS NULL GROUP BY o.endpoint
) c ON c.endpoint = s.endpoint
CROSS JOIN LATERAL (SELECT COALESCE(s.endpoint, c.endpoint) AS endpoint) e
LEFT JOIN pg_foreign_server f ON f.srvname = e.endpoint::name
WHERE pg_has_role('pg_monitor', 'USAGE') OR has_server_privilege(f.oid, 'USAGE');

CREATE VIEW nexus.workers WITH (security_barrier) AS
SELECT w.kind, w.database, w.pid, w.state, w.port, w.in_flight, w.queued, w.rejected, w.last_error, w.last_error_time
FROM nexus._workers() w;

-- grants: EXECUTE on functions goes to PUBLIC because each checks for itself

GRANT SELECT ON nexus.operations, nexus.pending_operations, nexus.operation_history, nexus.failed_attempts,
    nexus.endpoints, nexus.stat_endpoints, nexus.workers TO PUBLIC;
REVOKE ALL ON FUNCTION nexus.validate_options(text[], oid), nexus.pause(), nexus.resume(text) FROM PUBLIC;

-- comments

COMMENT ON SCHEMA nexus IS 'Nexus operations: functions to invoke them, views to watch them';
COMMENT ON FOREIGN DATA WRAPPER nexus IS 'endpoints of Nexus operations are servers of this wrapper';
COMMENT ON TABLE nexus.operation IS 'one row per operation; written by schedule() and the worker only';
COMMENT ON TABLE nexus.operation_key IS 'which operation a business id means, by generation';
COMMENT ON TABLE nexus.request IS 'what users asked of an operation and the worker has not taken yet; and which new one each was retried as';
COMMENT ON TABLE nexus.failed_attempt IS 'the last 20 failed attempts of each operation';
COMMENT ON TABLE nexus.completion IS 'completion functions due to run (not used yet)';
COMMENT ON TABLE nexus.incarnation IS 'who this database is, and the keys of its callback tokens (secret)';
COMMENT ON TABLE nexus.endpoint_stat IS 'monotonic counters of each endpoint';
COMMENT ON FUNCTION nexus.validate_options(text[], oid) IS 'checks the options of endpoints and their user mappings';
COMMENT ON FUNCTION nexus.schedule(text, text, text, jsonb, interval, interval, interval, text, jsonb, text, text, text, text)
    IS 'schedule an operation in this transaction; it is sent once the transaction has committed';
COMMENT ON FUNCTION nexus.schedule_bytes(text, text, text, bytea, text, interval, interval, interval, text, jsonb, text, text, text, text)
    IS 'schedule an operation with an input of any content type';
COMMENT ON FUNCTION nexus.execute(text, text, text, jsonb, interval, interval, interval, text, jsonb, text, text, text, text, interval)
    IS 'schedule an operation outside of this transaction and await its result';
COMMENT ON FUNCTION nexus.await(uuid, interval) IS 'the result of an operation, once it is there; raises where it did not succeed';
COMMENT ON PROCEDURE nexus.wait(uuid, interval, jsonb) IS 'as await, but holds no snapshot while asleep outside a transaction block';
COMMENT ON FUNCTION nexus.await_all(uuid[], interval) IS 'one row per operation, once all are closed or the time is over';
COMMENT ON FUNCTION nexus.state(uuid) IS 'the committed state of an operation';
COMMENT ON FUNCTION nexus.result(uuid) IS 'the result of an operation, NULL unless it succeeded';
COMMENT ON FUNCTION nexus.cancel(uuid, text) IS 'ask for the cancellation of an operation; false where it is closed or was asked already';
COMMENT ON FUNCTION nexus.terminate(uuid, text) IS 'close an operation here, without telling its handler';
COMMENT ON FUNCTION nexus.retry(uuid) IS 'take up an operation that stopped: at once where it backs off, as a new one where it closed without success';
COMMENT ON FUNCTION nexus.complete(uuid, jsonb, bytea) IS 'deliver a completion request that came another way than through the listener';
COMMENT ON FUNCTION nexus.pause() IS 'stop sending in this database once this transaction has committed, until nexus.resume()';
COMMENT ON FUNCTION nexus.resume(text)
    IS 'start sending in this database again; in a copy ''adopt'' or ''terminate'' says what becomes of open operations of its origin';
COMMENT ON FUNCTION nexus._workers() IS 'private: what nexus.workers shows';
COMMENT ON FUNCTION nexus._endpoints() IS 'private: what nexus.endpoints shows of servers and of shared memory';
COMMENT ON FUNCTION nexus._blocked_reason(text, oid, boolean) IS 'private: why operations of an owner at an endpoint are not sent';
COMMENT ON VIEW nexus.operations IS 'every operation you may see, open and closed';
COMMENT ON VIEW nexus.pending_operations IS 'open operations, what they wait for, and why';
COMMENT ON VIEW nexus.operation_history IS 'the events of operations, named as in a Temporal workflow history';
COMMENT ON VIEW nexus.failed_attempts IS 'the last 20 failed attempts of each operation';
COMMENT ON VIEW nexus.endpoints IS 'endpoints as they are now';
COMMENT ON VIEW nexus.stat_endpoints IS 'what has happened at endpoints since stats_reset';
COMMENT ON VIEW nexus.workers IS 'the processes of the extension in this cluster';
