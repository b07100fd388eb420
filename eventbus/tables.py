"""The bus's tables. Each service has them in its own schema; `create` runs in its migration."""

from dataclasses import dataclass
from importlib.resources import files

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

# States of an event in the inbox; the last two are also resolutions of a dead letter.
DEAD = "DEAD"
HANDLED = "HANDLED"
DISCARDED = "DISCARDED"

_INITIAL_RETENTION_DAYS = 7


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
            relay_lease=_relay_lease(metadata),
            inbox=_inbox(metadata),
            attempts=_attempts(metadata),
            dead_letters=_dead_letters(metadata),
        )


def _event_columns() -> list[Column[object]]:
    return [
        Column("id", Text, nullable=False),
        Column("type", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("data", LargeBinary, nullable=False),
        Column("source", Text, nullable=False),
        Column("traceparent", Text, nullable=False),
        Column("occurred_at", DateTime(timezone=True), nullable=False),
        # By the database's clock, not the application's: watermarks are computed from it.
        Column(
            "recorded_at",
            DateTime(timezone=True),
            server_default=func.clock_timestamp(),
            nullable=False,
        ),
    ]


def _outbox(metadata: MetaData) -> Table:
    return Table(
        "outbox",
        metadata,
        Column("position", BigInteger, Identity(always=True), primary_key=True),
        *_event_columns(),
        # Set on an event that the broker refused permanently; later events of its key wait for it.
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
        Index("outbox_published_at_idx", "published_at"),
        postgresql_partition_by="RANGE (published_at)",
    )


def _outbox_dropped(metadata: MetaData) -> Table:
    return Table(
        "outbox_dropped",
        metadata,
        # Retention dropped rows of `outbox_published` from before this moment, and none from after
        # it; NULL if it has dropped none yet. The table has exactly one row.
        Column("dropped_before", DateTime(timezone=True)),
    )


def _relay_lease(metadata: MetaData) -> Table:
    return Table(
        "relay_lease",
        metadata,
        Column("name", Text, primary_key=True),
        Column("holder", Text, nullable=False),
        Column("expires_at", DateTime(timezone=True), nullable=False),
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
        # For `Inbox.later_handled`.
        Index("inbox_key_idx", "consumer", "key", "stream_sequence"),
        # Ranges of new pages are read whole until they are summarized.
        Index(
            "inbox_received_at_idx",
            "received_at",
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        ),
    )


def _attempts(metadata: MetaData) -> Table:
    return Table(
        "inbox_attempts",
        metadata,
        Column("consumer", Text),
        Column("event_id", Text),
        Column("failures", Integer, nullable=False),
        # The process that attempts it now, NULL between attempts. It locks the row while it handles
        # the event: if another process finds it set and not locked, that process crashed.
        Column("worker_id", Text),
        Column("started_at", DateTime(timezone=True), nullable=False),
        Column("last_error", Text, nullable=False, server_default=""),
        PrimaryKeyConstraint("consumer", "event_id"),
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
        # A value of `DeadLetterKind`; `reason` is for people.
        Column("kind", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("dead_at", DateTime(timezone=True), nullable=False),
        # NULL while it is open; then HANDLED or DISCARDED.
        Column("resolution", Text),
        Column("resolved_at", DateTime(timezone=True)),
        Index("dead_letters_open_idx", "consumer", postgresql_where=text("resolution IS NULL")),
        # For retention.
        Index("dead_letters_resolved_idx", "resolved_at"),
    )


def create(connection: Connection, schema: str, runtime_role: str) -> None:
    """Creates the tables, in a migration that runs as their owner.

    The runtime role may not change tables. A function that runs with its owner's rights creates and
    drops the daily partitions of `outbox_published`.
    """
    metadata = MetaData(schema=schema)
    tables = BusTables.define(metadata)
    metadata.create_all(connection)
    published, dropped = tables.outbox_published, tables.outbox_dropped
    rotate = f"{schema}.rotate_outbox_published"
    statements = [
        f"CREATE TABLE {published}_default PARTITION OF {published} DEFAULT",
        f"INSERT INTO {dropped} VALUES (NULL)",  # noqa: S608  names of our own
        f"REVOKE INSERT, UPDATE, DELETE ON {dropped} FROM {runtime_role}",
        _sql("rotate_outbox_published").replace("__schema__", schema),
        f"REVOKE ALL ON FUNCTION {rotate}(integer) FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION {rotate}(integer) TO {runtime_role}",
        f"SELECT {rotate}({_INITIAL_RETENTION_DAYS})",
        *(
            # Rows are deleted soon after they are inserted: vacuum by their number, not by their
            # share of the table.
            f"ALTER TABLE {table} SET"
            " (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"
            for table in (tables.outbox, tables.attempts)
        ),
    ]
    for statement in statements:
        connection.execute(text(statement))


def upgrade_indexes(connection: Connection, schema: str) -> None:
    """Creates and changes the indexes of a schema of an older version of the bus, in a migration.

    Those that exist are left.
    """
    metadata = MetaData(schema=schema)
    BusTables.define(metadata)
    connection.execute(text(f"ALTER INDEX {schema}.inbox_received_at_idx SET (autosummarize = on)"))
    for table in metadata.sorted_tables:
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            index.create(connection, checkfirst=True)


def _sql(name: str) -> str:
    return (files("eventbus") / "sql" / f"{name}.sql").read_text("utf-8")
