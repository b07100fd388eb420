"""The baseline of payment's schema.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from eventbus import tables as bus_tables
from runtime.database import idempotency

revision = "0001"
down_revision = None
oldest_served_code = "0001"

SCHEMA = "payment"
RUNTIME = "payment_runtime"
OPEN_PAYMENT = "status IN ('PENDING', 'PROCESSING', 'UNKNOWN')"
OPEN_REFUND = "status IN ('PENDING', 'UNKNOWN')"


def upgrade() -> None:
    bus_tables.create(op.get_bind(), SCHEMA, RUNTIME)
    idempotency.create(op.get_bind(), SCHEMA)
    _create_products()
    _create_orders()
    _create_payments()
    _create_access_codes()
    _create_access_code_events()
    _create_refunds()
    _create_provider_notifications()
    _restrict_rights()


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, default: str | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _key(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, primary_key=True)


def _ref(name: str, target: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, sa.ForeignKey(f"{SCHEMA}.{target}"), nullable=False)


def _number(name: str, default: str | None = None) -> sa.Column[object]:
    return sa.Column(
        name, sa.BigInteger, nullable=False, autoincrement=False, server_default=default
    )


def _due_at() -> sa.Column[object]:
    return sa.Column(
        "due_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
    )


def _index(
    name: str, table: str, *columns: str, unique: bool = False, where: str | None = None
) -> None:
    condition = sa.text(where) if where else None
    op.create_index(
        name, table, list(columns), unique=unique, schema=SCHEMA, postgresql_where=condition
    )


def _create_products() -> None:
    products = op.create_table(
        "products",
        _key("product_id"),
        _text("title_zh"),
        _text("title_en"),
        _number("amount_minor"),
        _text("currency_code"),
        sa.Column("validity_days", sa.Integer, nullable=False),
        sa.Column("sort_order", sa.Integer, nullable=False),
        schema=SCHEMA,
    )
    zh = "模拟面试"
    catalogue = [
        ("backend-60", f"后端工程师{zh}", "Backend engineer mock interview", 19900, "CNY", 90),
        ("frontend-60", f"前端工程师{zh}", "Frontend engineer mock interview", 19900, "CNY", 90),
        ("system-design-45", f"系统设计{zh}", "System design mock interview", 25900, "CNY", 90),
        ("behavioral-30", f"行为{zh}", "Behavioral mock interview", 2900, "USD", 60),
    ]
    names = [column.name for column in products.columns]
    op.bulk_insert(
        products,
        [
            dict(zip(names, (*product, sort_order), strict=True))
            for sort_order, product in enumerate(catalogue)
        ],
    )


def _create_orders() -> None:
    op.create_table(
        "orders",
        _key("order_id"),
        _text("customer_id"),
        _ref("product_id", "products.product_id"),
        _number("amount_minor"),
        _text("currency_code"),
        _text("email"),
        _text("display_name"),
        _text("language_code"),
        _text("status"),
        _time("created_at"),
        _time("expire_at"),
        _time("paid_at", nullable=True),
        sa.Column("access_code_id", sa.Text),
        _number("refunded_minor", default="0"),
        _text("payment_id", default=""),
        schema=SCHEMA,
    )
    _index("orders_customer_idx", "orders", "customer_id", "order_id")
    _index("orders_unpaid_idx", "orders", "expire_at", where="status = 'PENDING_PAYMENT'")


def _create_payments() -> None:
    op.create_table(
        "payments",
        _key("payment_id"),
        _ref("order_id", "orders.order_id"),
        _number("amount_minor"),
        _text("currency_code"),
        _text("payment_method"),
        _text("status"),
        _text("failure_reason"),
        _text("caller"),
        _text("request_id"),
        sa.Column("request_hash", sa.LargeBinary, nullable=False),
        _time("created_at"),
        _time("updated_at"),
        sa.Column("captured_minor", sa.BigInteger),
        _due_at(),
        sa.UniqueConstraint("caller", "request_id"),
        schema=SCHEMA,
    )
    _index("payments_order_idx", "payments", "order_id", "payment_id")
    _index("payments_due_idx", "payments", "due_at", where=OPEN_PAYMENT)


def _create_access_codes() -> None:
    op.create_table(
        "access_codes",
        _key("id"),
        _text("code"),
        _text("status"),
        _time("expire_at"),
        _ref("order_id", "orders.order_id"),
        _text("product_id"),
        _number("version"),
        _time("issued_at"),
        _text("redeemed_session_id", default=""),
        _time("redeemed_at", nullable=True),
        sa.Column("holds", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
        _text("replaced_by", default=""),
        schema=SCHEMA,
    )
    _index("code_idx", "access_codes", "code", unique=True)
    _index("status_idx", "access_codes", "status")
    _index("access_codes_order_id_idx", "access_codes", "order_id")
    _index(
        "access_codes_live_idx",
        "access_codes",
        "expire_at",
        where="status IN ('ACTIVE', 'SUSPENDED')",
    )


def _create_access_code_events() -> None:
    op.create_table(
        "access_code_events",
        _ref("access_code_id", "access_codes.id"),
        _number("version"),
        _time("changed_at"),
        _text("actor"),
        sa.Column("before", sa.Text),
        _text("after"),
        _text("cause_event_id"),
        _text("reason", default=""),
        sa.PrimaryKeyConstraint("access_code_id", "version"),
        schema=SCHEMA,
    )


def _create_refunds() -> None:
    op.create_table(
        "refunds",
        _key("refund_id"),
        _ref("order_id", "orders.order_id"),
        _ref("payment_id", "payments.payment_id"),
        _number("amount_minor"),
        _text("currency_code"),
        # "full" is a keyword of SQL and has to be quoted.
        sa.Column("full", sa.Boolean, nullable=False, quote=True),
        sa.Column("surplus", sa.Boolean, nullable=False),
        _text("reason"),
        _text("status"),
        _text("failure_reason"),
        sa.Column("asks", sa.Integer, nullable=False),
        _time("asked_at", nullable=True),
        _time("released_at", nullable=True),
        _time("created_at"),
        _time("updated_at"),
        _due_at(),
        sa.Column("caller", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("request_hash", sa.LargeBinary),
        sa.UniqueConstraint("caller", "request_id"),
        schema=SCHEMA,
    )
    _index("refunds_order_idx", "refunds", "order_id", "refund_id")
    _index("refunds_due_idx", "refunds", "due_at", where=OPEN_REFUND)
    _index(
        "refunds_pending_idx",
        "refunds",
        "order_id",
        unique=True,
        where=f"{OPEN_REFUND} AND NOT surplus",
    )


def _create_provider_notifications() -> None:
    table = "provider_notifications"
    op.create_table(
        table,
        _key("provider_notification_id"),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        _text("kind"),
        _text("payment_id"),
        _text("order_id"),
        sa.Column("amount_minor", sa.BigInteger),
        _text("currency_code"),
        _text("outcome"),
        _text("decline_reason"),
        _text("status"),
        _text("quarantine_reason"),
        _time("received_at"),
        sa.Column("deliveries", sa.Integer, nullable=False),
        _time("due_at"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        _time("dismissed_at", nullable=True),
        _text("dismissed_by", default=""),
        _text("dismissal_reason", default=""),
        schema=SCHEMA,
    )
    _index("provider_notifications_due_idx", table, "due_at", where="status = 'RECEIVED'")
    _index(
        "provider_notifications_unresolved_idx",
        table,
        "provider_notification_id",
        where="status = 'QUARANTINED' AND dismissed_at IS NULL",
    )
    _index(
        "provider_notifications_quarantined_idx",
        table,
        "provider_notification_id",
        where="status = 'QUARANTINED'",
    )


def _restrict_rights() -> None:
    """The runtime role has all rights on new tables by default; it keeps those that it needs."""
    for table in ("orders", "payments", "refunds", "access_codes", "provider_notifications"):
        op.execute(f"REVOKE DELETE ON {SCHEMA}.{table} FROM {RUNTIME}")
    # The audit is append-only.
    op.execute(f"REVOKE UPDATE, DELETE ON {SCHEMA}.access_code_events FROM {RUNTIME}")
    op.execute(f"REVOKE INSERT, UPDATE, DELETE ON {SCHEMA}.products FROM {RUNTIME}")
    op.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO interview_runtime")
    op.execute(
        f"GRANT SELECT (id, code, status, expire_at) ON {SCHEMA}.access_codes TO interview_runtime"
    )
