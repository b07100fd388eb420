-- Roles and schemas of the three services. Run it in the application's database, which should have
-- a server or at least no other application's data beside it: as a superuser, or, on a managed
-- server, as a role with CREATEROLE that owns the database. It is idempotent. It sets no passwords:
-- use ALTER ROLE.
--
-- Per service, <service>_owner owns and migrates the schema, and <service>_runtime reads and writes
-- its rows. Read access to tables of another service is granted by the migrations of that service.
-- No role has the name of a schema, since PostgreSQL would then put the schema on its search path.

DO $roles$
DECLARE
  admin text := current_user;
  is_superuser boolean := (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user);
  service text;
  owner text;
  runtime text;
  role text;
  attribute text;
  is_member boolean;
  other record;
BEGIN
  IF NOT is_superuser AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_database, pg_catalog.pg_roles
    WHERE datname = current_database() AND pg_has_role(admin, datdba, 'USAGE')
      AND rolname = admin AND rolcreaterole
  ) THEN
    RAISE EXCEPTION 'run this as a superuser, or as a role with CREATEROLE that owns database %',
      current_database();
  END IF;

  REVOKE CREATE ON SCHEMA public FROM PUBLIC;
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());

  -- By default every role may connect to every database: the services' roles may not.
  FOR other IN
    SELECT datname, is_superuser OR pg_has_role(admin, datdba, 'USAGE') AS may_revoke
    FROM pg_catalog.pg_database
    WHERE datallowconn AND has_database_privilege('public', oid, 'CONNECT')
  LOOP
    IF other.may_revoke THEN
      EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', other.datname);
    ELSE
      RAISE WARNING 'every role may connect to database %, which % does not own', other.datname,
        admin;
    END IF;
  END LOOP;

  FOREACH service IN ARRAY ARRAY['payment', 'interview', 'notification'] LOOP
    owner := service || '_owner';
    runtime := service || '_runtime';

    FOREACH role IN ARRAY ARRAY[owner, runtime] LOOP
      IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
        EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', role);
      END IF;
      -- Only what differs from the defaults is changed: some attributes can be named by a
      -- superuser only, even to take them away.
      FOR attribute IN
        SELECT change
        FROM pg_catalog.pg_roles,
          LATERAL (VALUES
            (NOT rolcanlogin, 'LOGIN'), (rolinherit, 'NOINHERIT'), (rolsuper, 'NOSUPERUSER'),
            (rolcreatedb, 'NOCREATEDB'), (rolcreaterole, 'NOCREATEROLE'),
            (rolreplication, 'NOREPLICATION'), (rolbypassrls, 'NOBYPASSRLS')
          ) AS attributes (differs, change)
        WHERE rolname = role AND differs
      LOOP
        EXECUTE format('ALTER ROLE %I %s', role, attribute);
      END LOOP;
      EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
      -- pg_catalog is always searched first; public is not searched.
      EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I',
                     role, current_database(), service);
    END LOOP;

    -- An idle transaction delays vacuum and the outbox; a long statement occupies a connection
    -- of the pool. Migrations have no such limits.
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''30s''', runtime);
    EXECUTE format('ALTER ROLE %I SET statement_timeout = ''30s''', runtime);
    -- JIT costs more than it gains for statements of milliseconds. The driver switches it off to look
    -- up a type; behind a connection pooler that would stay in the session of other clients.
    EXECUTE format('ALTER ROLE %I SET jit = off', runtime);

    -- The owner gives the rights in its schema. Who created a role may become a member of it, and
    -- is none when this ends, unless it was before.
    is_member := is_superuser OR CASE
      WHEN current_setting('server_version_num')::int >= 160000
        THEN pg_has_role(admin, owner, 'SET')
      ELSE pg_has_role(admin, owner, 'MEMBER')
    END;
    IF NOT is_member THEN
      EXECUTE format('GRANT %I TO %I', owner, admin);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = service) THEN
      EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', service, owner);
    ELSIF NOT EXISTS (
      SELECT FROM pg_catalog.pg_namespace WHERE nspname = service AND nspowner = owner::regrole
    ) THEN
      EXECUTE format('ALTER SCHEMA %I OWNER TO %I', service, owner);
    END IF;
    EXECUTE format('SET LOCAL ROLE %I', owner);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', service, runtime);
    EXECUTE format(
      'ALTER DEFAULT PRIVILEGES IN SCHEMA %I '
      'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', service, runtime);
    EXECUTE format(
      'ALTER DEFAULT PRIVILEGES IN SCHEMA %I '
      'GRANT USAGE ON SEQUENCES TO %I', service, runtime);
    EXECUTE format('SET LOCAL ROLE %I', admin);
    IF NOT is_member THEN
      EXECUTE format('REVOKE %I FROM %I', owner, admin);
    END IF;
  END LOOP;
END
$roles$;
