"""payment's tables. `access_codes` is shared: interview may read id, code, status, expire_at."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from eventbus import BusTables
from runtime.database import metadata as schema_metadata
from runtime.idempotency import define_table

SCHEMA = "payment"
metadata = schema_metadata(SCHEMA)
bus = BusTables.define(metadata)
request_replies = define_table(metadata)

products = Table(
    "products",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column("title_zh", Text, nullable=False),
    Column("title_en", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("validity_days", Integer, nullable=False),
    Column("sort_order", Integer, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("product_id", Text, ForeignKey(products.c.product_id), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("language_code", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expire_at", DateTime(timezone=True), nullable=False),
    Column("paid_at", DateTime(timezone=True)),
    Column("access_code_id", Text),
    Index("orders_customer_idx", "customer_id", "order_id"),
)

payments = Table(
    "payments",
    metadata,
    Column("payment_id", Text, primary_key=True),
    Column("order_id", Text, ForeignKey(orders.c.order_id), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("payment_method", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("failure_reason", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("caller", "request_id"),
    Index("payments_order_idx", "order_id", "payment_id"),
    # Those whose outcome isn't known: few, and looked at every few seconds.
    Index(
        "payments_open_idx",
        "updated_at",
        postgresql_where="status IN ('PENDING', 'PROCESSING', 'UNKNOWN')",
    ),
)

access_codes = Table(
    "access_codes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("code", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("expire_at", DateTime(timezone=True), nullable=False),
    Column("order_id", Text, ForeignKey(orders.c.order_id), nullable=False, index=True),
    Column("product_id", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("redeemed_session_id", Text, nullable=False, server_default=""),
    Column("redeemed_at", DateTime(timezone=True)),
    Index("code_idx", "code", unique=True),
    Index("status_idx", "status"),
)

# Append-only: the runtime role may not update or delete.
access_code_events = Table(
    "access_code_events",
    metadata,
    Column("access_code_id", Text, ForeignKey(access_codes.c.id), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("before", Text),
    Column("after", Text, nullable=False),
    Column("cause_event_id", Text, nullable=False),
)
