"""notification's tables."""

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, Table, Text, UniqueConstraint

from eventbus import BusTables
from runtime.database import metadata as schema_metadata
from runtime.idempotency import define_table

SCHEMA = "notification"
metadata = schema_metadata(SCHEMA)
bus = BusTables.define(metadata)
request_replies = define_table(metadata)

notifications = Table(
    "notifications",
    metadata,
    Column("notification_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("language_code", Text, nullable=False),
    Column("access_code_id", Text, nullable=False),
    Column("access_code", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("expire_at", DateTime(timezone=True), nullable=False),
    Column("message_id", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True)),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    # An event causes one mail per recipient.
    UniqueConstraint("event_id", "email"),
    Index("notifications_order_idx", "order_id", "notification_id"),
    Index("notifications_due_idx", "due_at", postgresql_where="due_at IS NOT NULL"),
    # At most one mail of an order is on its way.
    Index(
        "notifications_sending_idx",
        "order_id",
        unique=True,
        postgresql_where="status = 'SENDING'",
    ),
)
