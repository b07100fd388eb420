"""interview's tables, and the four columns of payment's shared table that it may read."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from eventbus import BusTables
from runtime.database import metadata as schema_metadata
from runtime.idempotency import define_table

SCHEMA = "interview"
metadata = schema_metadata(SCHEMA)
bus = BusTables.define(metadata)
request_replies = define_table(metadata)

code_entries = Table(
    "code_entries",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("access_code_id", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("expire_at", DateTime(timezone=True), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("product_id", Text, nullable=False),
    Index("code_entries_code_idx", "code", unique=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("access_code_id", Text, nullable=False),
    Column("question_set", JSONB, nullable=False),
    Column("status", Text, nullable=False),
    Column("prepared_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("validated_by", Text),
    UniqueConstraint("order_id"),
    Index("sessions_customer_idx", "customer_id", "session_id"),
)

# How fresh the copies of codes are: payment's newest watermark. One row.
payment_watermark = Table(
    "payment_watermark",
    metadata,
    Column(
        "singleton",
        Integer,
        CheckConstraint("singleton = 1", name="one_row"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("as_of", DateTime(timezone=True), nullable=False),
    Column("stream_sequence", BigInteger, nullable=False),
)
