-- Creates the daily partitions of outbox_published for today and the next two days, and drops those
-- that are older than retention_days. It runs with its owner's rights: the runtime role may call it
-- and may not change tables. Concurrent calls wait for each other.
-- outbox_dropped records up to when rows were dropped; a day without rows is not recorded.
-- __schema__ is replaced by the service's schema.
CREATE FUNCTION __schema__.rotate_outbox_published(retention_days integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    day date;
    partition text;
    starts timestamptz;
    ends timestamptz;
    had_rows boolean;
    -- The first day of which no rows are dropped now.
    kept_from date;
BEGIN
    IF retention_days < 1 THEN
        RAISE EXCEPTION 'retention of % days would drop events that were just published', retention_days;
    END IF;
    -- Replicas may rotate at the same time. Any role could take an advisory lock; this one is the
    -- owner's alone, and readers of the table do not wait for it.
    LOCK TABLE __schema__.outbox_dropped IN SHARE ROW EXCLUSIVE MODE;
    FOR day IN SELECT today + d FROM generate_series(0, 2) AS d LOOP
        starts := day::timestamp AT TIME ZONE 'UTC';
        ends := (day + 1)::timestamp AT TIME ZONE 'UTC';
        partition := 'outbox_published_' || to_char(day, 'YYYYMMDD');
        IF to_regclass('__schema__.' || partition) IS NULL THEN
            -- Rows published before their partition existed move into it from the default one.
            EXECUTE format(
                'CREATE TABLE __schema__.%I (LIKE __schema__.outbox_published)', partition);
            EXECUTE format(
                'WITH moved AS (DELETE FROM __schema__.outbox_published_default'
                ' WHERE published_at >= %L AND published_at < %L RETURNING *)'
                ' INSERT INTO __schema__.%I SELECT * FROM moved',
                starts, ends, partition);
            EXECUTE format(
                'ALTER TABLE __schema__.outbox_published ATTACH PARTITION __schema__.%I'
                ' FOR VALUES FROM (%L) TO (%L)',
                partition, starts, ends);
        END IF;
    END LOOP;
    -- Rows of days for which no partition was created.
    WITH dropped AS (
        DELETE FROM __schema__.outbox_published_default
        WHERE published_at < (today - retention_days)::timestamp AT TIME ZONE 'UTC'
        RETURNING published_at
    )
    SELECT max((published_at AT TIME ZONE 'UTC')::date) + 1 INTO kept_from FROM dropped;
    FOR partition IN
        SELECT child.relname FROM pg_inherits
        JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = '__schema__.outbox_published'::regclass
          AND child.relname ~ '^outbox_published_[0-9]{8}$'
          AND to_date(right(child.relname, 8), 'YYYYMMDD') < today - retention_days
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM __schema__.%I)', partition) INTO had_rows;
        IF had_rows THEN
            kept_from := greatest(kept_from, to_date(right(partition, 8), 'YYYYMMDD') + 1);
        END IF;
        EXECUTE format('DROP TABLE __schema__.%I', partition);
    END LOOP;
    UPDATE __schema__.outbox_dropped
    SET dropped_before = greatest(dropped_before, kept_from::timestamp AT TIME ZONE 'UTC')
    WHERE kept_from IS NOT NULL;
END $$;
