"""payment's tables. interview may read id, code, status, expire_at of `access_codes`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY

from eventbus import BusTables
from runtime.database.engine import metadata as schema_metadata
from runtime.database.idempotency import define_table
from runtime.ops.check_progress import define_table as define_check_progress

SCHEMA = "payment"
metadata = schema_metadata(SCHEMA)
bus = BusTables.define(metadata)
request_replies = define_table(metadata)
check_progress = define_check_progress(metadata)

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
    Column("refunded_minor", BigInteger, nullable=False, server_default="0"),
    Column("payment_id", Text, nullable=False, server_default=""),
    Index("orders_customer_idx", "customer_id", "order_id"),
    Index("orders_status_idx", "status", "order_id"),
    # Unpaid orders: few, and queried every few seconds.
    Index("orders_unpaid_idx", "expire_at", postgresql_where="status = 'PENDING_PAYMENT'"),
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
    Column("captured_minor", BigInteger),
    Column("caller", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    # When the provider is queried next about an open payment.
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("caller", "request_id"),
    Index("payments_order_idx", "order_id", "payment_id"),
    # For the ledger check, of what has changed.
    Index("payments_captured_idx", "updated_at", postgresql_where="captured_minor IS NOT NULL"),
    # Open payments: few, and queried every few seconds.
    Index(
        "payments_due_idx",
        "due_at",
        postgresql_where="status IN ('PENDING', 'PROCESSING', 'UNKNOWN')",
    ),
)

provider_notifications = Table(
    "provider_notifications",
    metadata,
    Column("provider_notification_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("body", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    # Empty, and NULL for the amount, if a notification of an unknown kind has none.
    Column("payment_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("amount_minor", BigInteger),
    Column("currency_code", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("decline_reason", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("quarantine_reason", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("deliveries", Integer, nullable=False),
    # When it is processed next, and how often processing failed.
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    # When, by whom and why an operator dismissed it.
    Column("dismissed_at", DateTime(timezone=True)),
    Column("dismissed_by", Text, nullable=False, server_default=""),
    Column("dismissal_reason", Text, nullable=False, server_default=""),
    Index("provider_notifications_due_idx", "due_at", postgresql_where="status = 'RECEIVED'"),
    # Those that need an operator: few among many, and counted every few seconds.
    Index(
        "provider_notifications_unresolved_idx",
        "provider_notification_id",
        postgresql_where="status = 'QUARANTINED' AND dismissed_at IS NULL",
    ),
    Index("provider_notifications_status_idx", "status", "provider_notification_id"),
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
    Column("holds", ARRAY(Text), nullable=False, server_default="{}"),
    Column("replaced_by", Text, nullable=False, server_default=""),
    Index("code_idx", "code", unique=True),
    Index("status_idx", "status"),
    # For pages: `status_idx` has no order.
    Index("access_codes_status_idx", "status", "id"),
    # Codes that can still expire.
    Index(
        "access_codes_live_idx", "expire_at", postgresql_where="status IN ('ACTIVE', 'SUSPENDED')"
    ),
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
    Column("reason", Text, nullable=False, server_default=""),
)

_WITHOUT_OUTCOME = "status IN ('PENDING', 'UNKNOWN')"
refunds = Table(
    "refunds",
    metadata,
    Column("refund_id", Text, primary_key=True),
    Column("order_id", Text, ForeignKey(orders.c.order_id), nullable=False),
    Column("payment_id", Text, ForeignKey(payments.c.payment_id), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency_code", Text, nullable=False),
    # "full" is a keyword of SQL and has to be quoted.
    Column("full", Boolean, nullable=False, quote=True),
    Column("surplus", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("failure_reason", Text, nullable=False),
    Column("asks", Integer, nullable=False),
    Column("asked_at", DateTime(timezone=True)),
    Column("released_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    # The idempotency key of its request; refunds of surplus money have none.
    Column("caller", Text),
    Column("request_id", Text),
    Column("request_hash", LargeBinary),
    # When a released refund is submitted to the provider next.
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("caller", "request_id"),
    Index("refunds_order_idx", "order_id", "refund_id"),
    Index("refunds_status_idx", "status", "refund_id"),
    # For the ledger check, of what has changed.
    Index("refunds_updated_idx", "updated_at"),
    # Open refunds: few, and queried every few seconds.
    Index("refunds_due_idx", "due_at", postgresql_where=_WITHOUT_OUTCOME),
    # One open refund of an order's price at a time.
    Index(
        "refunds_pending_idx",
        "order_id",
        unique=True,
        postgresql_where=f"{_WITHOUT_OUTCOME} AND NOT surplus",
    ),
)
