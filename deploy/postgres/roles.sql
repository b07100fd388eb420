-- Roles and schemas of the three services. Run it as a superuser in the application's database;
-- it is idempotent. It sets no passwords: use ALTER ROLE.
--
-- Per service, <service>_owner owns and migrates the schema, and <service>_runtime reads and writes
-- its rows. Read access to tables of another service is granted by the migrations of that service.
-- No role has the name of a schema, since PostgreSQL would then put the schema on its search path.

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
      -- pg_catalog is always searched first; public is not searched.
      EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I',
                     role, current_database(), service);
    END LOOP;

    -- An idle transaction delays vacuum and the outbox; a long statement occupies a connection
    -- of the pool. Migrations have no such limits.
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
