"""The bus's tables. Every service has them in its own schema; `create` is the migration."""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

HANDLED = "HANDLED"
DEAD = "DEAD"
DISCARDED = "DISCARDED"


def _event_columns() -> list[Column[object]]:
    return [
        Column("id", Text, nullable=False),
        Column("type", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("data", LargeBinary, nullable=False),
        Column("source", Text, nullable=False),
        Column("traceparent", Text, nullable=False),
        Column("occurred_at", DateTime(timezone=True), nullable=False),
        # The database's clock, not the application's: watermarks are computed from it.
        Column(
            "recorded_at",
            DateTime(timezone=True),
            server_default=func.clock_timestamp(),
            nullable=False,
        ),
    ]


@dataclass(frozen=True)
class BusTables:
    """The bus's tables in one service's schema."""

    outbox: Table
    outbox_published: Table
    outbox_dropped: Table
    relay_lease: Table
    inbox: Table
    attempts: Table
    dead_letters: Table

    @classmethod
    def define(cls, metadata: MetaData) -> "BusTables":
        """Adds the tables to a service's metadata, whose schema they share."""
        return cls(
            outbox=_outbox(metadata),
            outbox_published=_outbox_published(metadata),
            outbox_dropped=_outbox_dropped(metadata),
            relay_lease=Table(
                "relay_lease",
                metadata,
                Column("name", Text, primary_key=True),
                Column("holder", Text, nullable=False),
                Column("expires_at", DateTime(timezone=True), nullable=False),
            ),
            inbox=_inbox(metadata),
            attempts=Table(
                "inbox_attempts",
                metadata,
                Column("consumer", Text),
                Column("event_id", Text),
                Column("failures", Integer, nullable=False),
                # The process that tries it now. Still set when another comes: that one crashed.
                Column("runner", Text),
                Column("began_at", DateTime(timezone=True), nullable=False),
                Column("last_error", Text, nullable=False, server_default=""),
                PrimaryKeyConstraint("consumer", "event_id"),
            ),
            dead_letters=_dead_letters(metadata),
        )


def _outbox(metadata: MetaData) -> Table:
    return Table(
        "outbox",
        metadata,
        Column("position", BigInteger, Identity(always=True), primary_key=True),
        *_event_columns(),
        # Set on an event that the broker refuses for good; those of its key wait behind it.
        Column("parked_reason", Text),
        Index("outbox_parked_idx", "key", postgresql_where=text("parked_reason IS NOT NULL")),
    )


def _outbox_published(metadata: MetaData) -> Table:
    return Table(
        "outbox_published",
        metadata,
        Column("position", BigInteger, nullable=False),
        *_event_columns(),
        Column("published_at", DateTime(timezone=True), nullable=False),
        Index("outbox_published_position_idx", "position"),
        postgresql_partition_by="RANGE (published_at)",
    )


def _outbox_dropped(metadata: MetaData) -> Table:
    return Table(
        "outbox_dropped",
        metadata,
        # Of `outbox_published`, rows from before this moment were dropped, none from after it;
        # NULL while none ever was. Always one row.
        Column("dropped_before", DateTime(timezone=True)),
    )


def _inbox(metadata: MetaData) -> Table:
    return Table(
        "inbox",
        metadata,
        Column("consumer", Text),
        Column("event_id", Text),
        Column("state", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("stream_sequence", BigInteger, nullable=False),
        Column(
            "received_at",
            DateTime(timezone=True),
            server_default=func.clock_timestamp(),
            nullable=False,
        ),
        PrimaryKeyConstraint("consumer", "event_id"),
        Index("inbox_received_at_idx", "received_at", postgresql_using="brin"),
    )


def _dead_letters(metadata: MetaData) -> Table:
    return Table(
        "dead_letters",
        metadata,
        Column("dead_letter_id", Text, primary_key=True),
        Column("consumer", Text, nullable=False),
        Column("event_id", Text, nullable=False),
        Column("event_type", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("stream_sequence", BigInteger, nullable=False),
        Column("data", LargeBinary, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("reason", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("dead_at", DateTime(timezone=True), nullable=False),
        # NULL while it waits for a decision; then HANDLED or DISCARDED.
        Column("resolution", Text),
        Column("resolved_at", DateTime(timezone=True)),
        Index("dead_letters_open_idx", "consumer", postgresql_where=text("resolution IS NULL")),
    )


def create(connection: Connection, schema: str, runtime_role: str) -> None:
    """Creates the tables in a migration, and what only their owner may do to them.

    Days of `outbox_published` are created and dropped by a function that runs with its owner's
    rights: the runtime role has no right to change tables.
    """
    metadata = MetaData(schema=schema)
    tables = BusTables.define(metadata)
    metadata.create_all(connection)
    published = f"{schema}.{tables.outbox_published.name}"
    rotate = f"{schema}.rotate_outbox_published"
    for statement in (
        f"CREATE TABLE {published}_default PARTITION OF {published} DEFAULT",
        *(
            # Rows come and go quickly: vacuum by count, not by share of the table.
            f"ALTER TABLE {schema}.{table.name} SET"
            " (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"
            for table in (tables.outbox, tables.attempts)
        ),
    ):
        connection.exec_driver_sql(statement)
    remember_dropped(connection, schema, runtime_role)
    for statement in (
        f"REVOKE ALL ON FUNCTION {rotate}(integer) FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION {rotate}(integer) TO {runtime_role}",
        f"SELECT {rotate}(7)",
    ):
        connection.exec_driver_sql(statement)


def remember_dropped(connection: Connection, schema: str, runtime_role: str) -> None:
    """From now on, what retention drops is noted: for tables that were created without that.

    Done again, it changes nothing. Where events may have been dropped before, the oldest day that
    is kept counts as the first from which on all is.
    """
    tables = BusTables.define(MetaData(schema=schema))
    tables.outbox_dropped.create(connection, checkfirst=True)
    for statement in (
        _NOTE_OF_THE_PAST.replace("__schema__", schema),
        _ROTATE.replace("__schema__", schema),
        f"REVOKE INSERT, UPDATE, DELETE ON {tables.outbox_dropped} FROM {runtime_role}",
    ):
        connection.exec_driver_sql(statement)


_NOTE_OF_THE_PAST = """
INSERT INTO __schema__.outbox_dropped
SELECT CASE
    WHEN pg_sequence_last_value(
            pg_get_serial_sequence('__schema__.outbox', 'position')::regclass) IS NULL
      OR EXISTS (SELECT FROM __schema__.outbox WHERE position = 1)
      OR EXISTS (SELECT FROM __schema__.outbox_published WHERE position = 1)
    THEN NULL
    ELSE (
        SELECT min(to_date(right(child.relname, 8), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
        FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = '__schema__.outbox_published'::regclass
          AND child.relname ~ '^outbox_published_[0-9]{8}$'
    )
END
WHERE NOT EXISTS (SELECT FROM __schema__.outbox_dropped)
"""

_ROTATE = """
CREATE OR REPLACE FUNCTION __schema__.rotate_outbox_published(retention_days integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    day date;
    partition text;
    starts timestamptz;
    ends timestamptz;
    had_rows boolean;
    -- The day after the last one of which rows are dropped now.
    kept_from date;
BEGIN
    IF retention_days < 1 THEN
        RAISE EXCEPTION 'retention of % days would drop what was just published', retention_days;
    END IF;
    -- Two replicas may come at once.
    PERFORM pg_advisory_xact_lock(hashtext('__schema__.rotate_outbox_published'));
    FOR day IN SELECT today + d FROM generate_series(0, 2) AS d LOOP
        starts := day::timestamp AT TIME ZONE 'UTC';
        ends := (day + 1)::timestamp AT TIME ZONE 'UTC';
        partition := 'outbox_published_' || to_char(day, 'YYYYMMDD');
        IF to_regclass('__schema__.' || partition) IS NULL THEN
            -- Rows that came before their day's partition was made move into it.
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
    -- Rows of days for which no partition was ever made.
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
"""
