-- Roles and schemas of the three services. A superuser runs it in the application's database;
-- running it again changes nothing. Passwords are not in it: set them with ALTER ROLE.
--
-- Per service: <service>_owner migrates and owns the schema, <service>_runtime reads and writes
-- rows in it. What one service may read of another is granted by the other's own migrations.
-- No role is named like a schema, since PostgreSQL would then put that schema on its search path.

REVOKE CREATE ON SCHEMA public FROM PUBLIC;

DO $roles$
DECLARE
  service text;
  owner text;
  runtime text;
  role text;
BEGIN
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());

  FOREACH service IN ARRAY ARRAY['payment', 'interview', 'notification'] LOOP
    owner := service || '_owner';
    runtime := service || '_runtime';

    FOREACH role IN ARRAY ARRAY[owner, runtime] LOOP
      IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
        EXECUTE format('CREATE ROLE %I', role);
      END IF;
      EXECUTE format(
        'ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS '
        'NOINHERIT', role);
      EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
      -- pg_catalog is searched first anyway; public is not searched at all.
      EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I',
                     role, current_database(), service);
    END LOOP;

    -- A transaction left open holds back vacuum and the outbox; a statement that runs on and on
    -- holds a connection that calls wait for. Migrations may take their time.
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''30s''', runtime);
    EXECUTE format('ALTER ROLE %I SET statement_timeout = ''30s''', runtime);

    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', service);
    EXECUTE format('ALTER SCHEMA %I OWNER TO %I', service, owner);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', service, runtime);
    EXECUTE format(
      'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I '
      'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', owner, service, runtime);
    EXECUTE format(
      'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I '
      'GRANT USAGE ON SEQUENCES TO %I', owner, service, runtime);
  END LOOP;
END
$roles$;
