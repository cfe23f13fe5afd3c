--
-- Endpoints: the options of servers and user mappings, who may set them, and
-- the settings.
--
CREATE EXTENSION nexus_pg;

-- Says how a command ended: SQLSTATE, message and hint, or "ok".
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', SQLSTATE, message, nullif(hint, ''));
END $$;

-- The same of making a server, or a user mapping, with some options.
CREATE FUNCTION pg_temp.server(options text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.outcome('CREATE SERVER probe FOREIGN DATA WRAPPER nexus OPTIONS (' || options || ');'
                           'DROP SERVER probe')
$$;
CREATE FUNCTION pg_temp.mapping(options text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.outcome('CREATE USER MAPPING FOR CURRENT_ROLE SERVER regress_endpoint OPTIONS (' || options || ');'
                           'DROP USER MAPPING FOR CURRENT_ROLE SERVER regress_endpoint')
$$;
\pset format unaligned
\pset tuples_only on

-- The wrapper has no options, its servers no tables
SELECT pg_temp.outcome('ALTER FOREIGN DATA WRAPPER nexus OPTIONS (ADD url ''http://127.0.0.1/'')');
SELECT pg_temp.outcome('CREATE SERVER regress_endpoint FOREIGN DATA WRAPPER nexus');
CREATE SERVER regress_endpoint FOREIGN DATA WRAPPER nexus OPTIONS (url 'http://127.0.0.1:7243/services');
SELECT pg_temp.outcome('CREATE FOREIGN TABLE regress_endpoint_table (a integer) SERVER regress_endpoint');
SELECT pg_temp.outcome('IMPORT FOREIGN SCHEMA a FROM SERVER regress_endpoint INTO public');

-- Names of server options
SELECT pg_temp.server('url ''http://127.0.0.1/'', nosuch ''1''');
SELECT pg_temp.server('url ''http://127.0.0.1/'', bearer_token ''geheim''');
SELECT pg_temp.server('url ''http://127.0.0.1/'', "URL" ''http://127.0.0.1/''');
SELECT pg_temp.server(format('url %L, %I %L', 'http://127.0.0.1/', later, '1'))
  FROM unnest(ARRAY['temporal_url', 'temporal_endpoint', 'temporal_namespace', 'temporal_task_queue',
                    'temporal_ui_url']) later;

-- url
SELECT url, pg_temp.server(format('url %L', url))
  FROM unnest(ARRAY['http://localhost', 'HTTP://127.0.0.1:1/a/b?c=d', 'https://[::1]:8443/', 'http://127.8.9.10/',
                    '', 'localhost:80', 'ftp://localhost/', 'http://', 'http:///a', 'http://localhost:0/',
                    'http://localhost:65536/', 'http://localhost:x/', 'http://user@localhost/',
                    'http://user:geheim@localhost/', 'http://localhost/#a', 'http://localhost/a b',
                    E'http://localhost/\n', 'http://[::1/', 'file:///etc/passwd']) url;

-- callback_url; the whole callback URL has at most 1000 bytes
SELECT left(url, 40), length(url), pg_temp.server(format('url %L, callback_url %L', 'http://127.0.0.1/', url))
  FROM unnest(ARRAY['https://db.example.com/here', 'https://db.example.com/here/', '', 'db.example.com',
                    'https://u:geheim@db.example.com/', 'https://db.example.com/?a=b',
                    'http://db/' || repeat('a', 900), 'http://db/' || repeat('a', 901)]) url;

-- Values of the other server options
SELECT name, value, pg_temp.server(format('url %L, %I %L', 'http://127.0.0.1/', name, value))
  FROM (VALUES ('request_timeout', ARRAY['500ms', '10s', '10', '00:01:30', 'PT30S', '1 day', '1h',
                                         '0', '-1s', '0.1 ms', '25 hours', '1 month', 'soon', '', 'infinity']),
               ('retry_initial_interval', ARRAY['1ms', '1h', '0s', '61 min', '31 days', 'x']),
               ('retry_max_interval', ARRAY['1s', '30 days', '1 month', '999ms', '31 days', 'x']),
               ('retry_backoff_coefficient', ARRAY['1', '1.5', '1e2', '0.99', '100.1', 'nan', '-2', '', '2x']),
               ('max_in_flight', ARRAY['1', '10000', '0', '10001', '-1', '1.5', '', '99999999999999999999']),
               ('max_requests_per_second', ARRAY['100', '0.5', '1e6', '0', '-1', '1000001', 'inf', '', '5/s']),
               ('breaker_failures', ARRAY['0', '1', '1000000', '-1', '1000001', '2.5', 'never']),
               ('breaker_open_interval', ARRAY['1ms', '1h', '0', '31 days', 'x']),
               ('max_schedule_to_close_timeout', ARRAY['1ms', '36500 days', '0', '-1s', '36501 days', 'x']),
               ('retention', ARRAY['0', '1h', '36500 days', '-1s', '36501 days', 'x']),
               ('enabled', ARRAY['true', 'off', '1', 'maybe', '']),
               ('ssl_min_protocol_version', ARRAY['TLSv1.2', 'TLSv1.3', 'TLSv1', 'TLSv1.1', 'SSLv3', '']),
               ('sslrootcert', ARRAY['/etc/ca.pem', 'ca.pem', '']),
               ('sslcert', ARRAY['/etc/cert.pem', './cert.pem']),
               ('sslkey', ARRAY['/etc/key.pem', '../key.pem'])) options (name, examples),
       unnest(examples) value;
SELECT left(pg_temp.server(format('url %L, sslkey %L', 'http://127.0.0.1/', '/' || repeat('k', 1024))), 60);

-- ALTER sees the options together
ALTER SERVER regress_endpoint OPTIONS (ADD request_timeout '5s', ADD max_in_flight '3', ADD enabled 'off');
SELECT pg_temp.outcome('ALTER SERVER regress_endpoint OPTIONS (DROP url)');
SELECT pg_temp.outcome('ALTER SERVER regress_endpoint OPTIONS (SET request_timeout ''never'')');
ALTER SERVER regress_endpoint OPTIONS (ADD retry_max_interval '10s');
SELECT pg_temp.outcome('ALTER SERVER regress_endpoint OPTIONS (ADD retry_initial_interval ''11s'')');
ALTER SERVER regress_endpoint OPTIONS (DROP retry_max_interval, DROP enabled, SET max_in_flight '4');
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'regress_endpoint';

-- A handler elsewhere cannot call a loopback address; no warning where it can
CREATE SERVER regress_remote FOREIGN DATA WRAPPER nexus OPTIONS (url 'https://handler.example.com/');
ALTER SERVER regress_remote OPTIONS (ADD callback_url 'http://localhost:7244/');
ALTER SERVER regress_remote OPTIONS (SET callback_url 'https://db.example.com/');
ALTER SERVER regress_remote OPTIONS (SET url 'http://127.0.0.1/', SET callback_url 'http://[::1]/');
DROP SERVER regress_remote;

-- User mappings: names, values, and secrets that are not repeated
SELECT pg_temp.mapping('url ''http://127.0.0.1/''');
SELECT pg_temp.mapping('retention ''1 day''');
SELECT name, value, pg_temp.mapping(format('%I %L', name, value))
  FROM (VALUES ('bearer_token', ARRAY['abc.def-ghi', '']),
               ('username', ARRAY['ada', 'ada:lovelace', '', E'a\nb']),
               ('sslpassword', ARRAY['a b', '']),
               ('bearer_token_file', ARRAY['/etc/token', 'token', '']),
               ('sslcert', ARRAY['/etc/cert.pem', 'cert.pem']),
               ('sslkey', ARRAY['/etc/key.pem', '../key.pem'])) options (name, examples),
       unnest(examples) value;
SELECT pg_temp.mapping('bearer_token ''geheim geheim''');
SELECT pg_temp.mapping(E'bearer_token E''geheim\\n''');
SELECT pg_temp.mapping(E'username ''ada'', password E''geheim\\r''');
SELECT pg_temp.mapping('username ''ada'', password ''''');
SELECT pg_temp.mapping('username ''ada'', password ''one:two three''');
SELECT headers, pg_temp.mapping(format('headers %L', headers))
  FROM unnest(ARRAY['{}', '{"X-Team": "billing", "x-other": "a\tb"}', '{"Authorization": "Digest a"}', '{"Operation-Timeout": "5s"}',
                    '', 'geheim', '{"X-Team": "geheim"', '[]', '"geheim"', '{"X-Team": 1}', '{"X-Team": null}',
                    '{"X-Team": ["geheim"]}', '{"X-Team": {"a": "geheim"}}', '{"X Team": "geheim"}', '{"": "geheim"}',
                    '{"X-Team": "geheim\r\nX-Other: geheim"}', '{"X-Team": "\u0000geheim"}', '{"X-Team": "\ud800geheim"}',
                    '{"Host": "geheim"}', '{"content-length": "5"}', '{"Connection": "close"}', '{"Request-Timeout": "5s"}',
                    '{"Nexus-Request-Id": "geheim"}', '{"Caller-Name": "geheim"}']) headers;
SELECT pg_temp.mapping(format('headers %L', jsonb_build_object('X-Team', repeat('a', 8192))));

-- One kind of authorization
SELECT options, pg_temp.mapping(options)
  FROM unnest(ARRAY['bearer_token ''a'', bearer_token_file ''/a''', 'bearer_token ''a'', username ''a''',
                    'username ''a'', headers ''{"authorization": "a"}''', 'bearer_token_file ''/a'', headers ''{"Authorization": "a"}''',
                    'bearer_token ''a'', headers ''{"X-Team": "a"}''', 'bearer_token ''a'', sslcert ''/a'', sslkey ''/b''',
                    'password ''a''', 'password ''a'', bearer_token ''a''']) options;

-- Only those who may read the server's files name them
CREATE ROLE regress_nexus_owner;
CREATE ROLE regress_nexus_user;
CREATE ROLE regress_nexus_reader;
GRANT pg_read_server_files TO regress_nexus_reader;
GRANT USAGE ON FOREIGN DATA WRAPPER nexus TO regress_nexus_owner, regress_nexus_user, regress_nexus_reader;
GRANT USAGE ON FOREIGN SERVER regress_endpoint TO regress_nexus_user, regress_nexus_reader;
ALTER SERVER regress_endpoint OWNER TO regress_nexus_owner;
SET ROLE regress_nexus_reader;
SELECT pg_temp.server('url ''http://127.0.0.1/'', sslrootcert ''/etc/ca.pem''');
SELECT pg_temp.mapping('bearer_token_file ''/etc/token''');
SET ROLE regress_nexus_owner;
SELECT pg_temp.server('url ''http://127.0.0.1/''');
SELECT pg_temp.server(format('url %L, %I %L', 'http://127.0.0.1/', name, '/etc/file'))
  FROM unnest(ARRAY['sslrootcert', 'sslcert', 'sslkey']) name;
SELECT pg_temp.mapping(format('%I %L', name, '/etc/file'))
  FROM unnest(ARRAY['bearer_token_file', 'sslcert', 'sslkey']) name;

-- A file that a superuser set is not in the way of the owner's other options
RESET ROLE;
ALTER SERVER regress_endpoint OPTIONS (ADD sslrootcert '/etc/ca.pem');
CREATE USER MAPPING FOR PUBLIC SERVER regress_endpoint OPTIONS (bearer_token_file '/etc/token');
CREATE USER MAPPING FOR regress_nexus_user SERVER regress_endpoint OPTIONS (username 'ada', password 'geheim', sslkey '/etc/user.key');
SET ROLE regress_nexus_owner;
ALTER SERVER regress_endpoint OPTIONS (SET max_in_flight '5');
ALTER USER MAPPING FOR PUBLIC SERVER regress_endpoint OPTIONS (ADD headers '{"X-Team": "billing"}');
SELECT pg_temp.outcome('ALTER SERVER regress_endpoint OPTIONS (SET sslrootcert ''/etc/other.pem'')');
SELECT pg_temp.outcome('ALTER SERVER regress_endpoint OPTIONS (ADD sslcert ''/etc/ca.pem'')');
SELECT pg_temp.outcome('ALTER USER MAPPING FOR PUBLIC SERVER regress_endpoint OPTIONS (SET bearer_token_file ''/etc/other'')');

-- What a role may use it cannot carry to a server of its own
SET ROLE regress_nexus_user;
CREATE SERVER regress_other FOREIGN DATA WRAPPER nexus OPTIONS (url 'http://127.0.0.1/');
SELECT pg_temp.outcome('CREATE USER MAPPING FOR CURRENT_ROLE SERVER regress_other OPTIONS (sslkey ''/etc/user.key'')');
SELECT pg_temp.outcome('CREATE USER MAPPING FOR CURRENT_ROLE SERVER regress_other OPTIONS (bearer_token_file ''/etc/token'')');
SELECT pg_temp.outcome('ALTER SERVER regress_other OPTIONS (ADD sslrootcert ''/etc/ca.pem'')');

-- A role sees its own mapping; PUBLIC's only the server's owner does
SELECT usename, umoptions FROM pg_user_mappings WHERE srvname = 'regress_endpoint' ORDER BY usename COLLATE "C";
SET ROLE regress_nexus_owner;
SELECT usename, umoptions FROM pg_user_mappings WHERE srvname = 'regress_endpoint' ORDER BY usename COLLATE "C";
SELECT pg_temp.outcome('SELECT umoptions FROM pg_user_mapping');
SELECT pg_temp.outcome('ALTER SERVER regress_other OPTIONS (SET url ''http://127.0.0.1/'')');
RESET ROLE;

DROP SERVER regress_other;
DROP USER MAPPING FOR regress_nexus_user SERVER regress_endpoint;
SELECT pg_temp.outcome('DROP SERVER regress_endpoint');
DROP SERVER regress_endpoint CASCADE;
REVOKE USAGE ON FOREIGN DATA WRAPPER nexus FROM regress_nexus_owner, regress_nexus_user, regress_nexus_reader;
DROP ROLE regress_nexus_owner, regress_nexus_user, regress_nexus_reader;

-- Settings
SELECT name, vartype, unit, context, boot_val, min_val, max_val, enumvals
  FROM pg_settings WHERE name LIKE 'nexus\_pg.%' ORDER BY name COLLATE "C";
ALTER SYSTEM SET nexus_pg.callback_url = 'db.example.com';
ALTER SYSTEM SET nexus_pg.callback_url = 'http://user@db.example.com/';
ALTER SYSTEM SET nexus_pg.callback_url = 'http://db.example.com/?a';
ALTER SYSTEM SET nexus_pg.listen_addresses = ',';
ALTER SYSTEM SET nexus_pg.max_in_flight = 0;
ALTER SYSTEM SET nexus_pg.port = 65536;
ALTER SYSTEM SET nexus_pg.synchronous_commit = off;
ALTER SYSTEM SET nexus_pg.nosuch = '1';
SET nexus_pg.max_payload_size = '3MB';
SET nexus_pg.await_timeout = '2min';
SHOW nexus_pg.await_timeout;
