"""Orders, payments, access codes, and the bus.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

from eventbus import tables as bus_schema
from runtime.database import idempotency

revision = "0001"
down_revision = None

SCHEMA = "payment"
RUNTIME = "payment_runtime"
OPEN = "status IN ('PENDING', 'PROCESSING', 'UNKNOWN')"


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, default: str | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _key(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, primary_key=True)


def _ref(name: str, target: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, sa.ForeignKey(f"{SCHEMA}.{target}"), nullable=False)


def _number(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False)


def upgrade() -> None:
    bus_schema.create(op.get_bind(), SCHEMA, RUNTIME)
    idempotency.create(op.get_bind(), SCHEMA)
    _create_products()
    _create_orders()
    _create_access_codes()


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
            dict(zip(names, (*product, place), strict=True))
            for place, product in enumerate(catalogue)
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
        _at("created_at"),
        _at("expire_at"),
        _at("paid_at", nullable=True),
        sa.Column("access_code_id", sa.Text),
        schema=SCHEMA,
    )
    op.create_index("orders_customer_idx", "orders", ["customer_id", "order_id"], schema=SCHEMA)
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
        _at("created_at"),
        _at("updated_at"),
        sa.UniqueConstraint("caller", "request_id"),
        schema=SCHEMA,
    )
    op.create_index("payments_order_idx", "payments", ["order_id", "payment_id"], schema=SCHEMA)
    op.create_index(
        "payments_open_idx",
        "payments",
        ["updated_at"],
        schema=SCHEMA,
        postgresql_where=sa.text(OPEN),
    )


def _create_access_codes() -> None:
    op.create_table(
        "access_codes",
        _key("id"),
        _text("code"),
        _text("status"),
        _at("expire_at"),
        _ref("order_id", "orders.order_id"),
        _text("product_id"),
        _number("version"),
        _at("issued_at"),
        _text("redeemed_session_id", default=""),
        _at("redeemed_at", nullable=True),
        schema=SCHEMA,
    )
    op.create_index("code_idx", "access_codes", ["code"], unique=True, schema=SCHEMA)
    op.create_index("status_idx", "access_codes", ["status"], schema=SCHEMA)
    op.create_index("access_codes_order_id_idx", "access_codes", ["order_id"], schema=SCHEMA)
    op.create_table(
        "access_code_events",
        _ref("access_code_id", "access_codes.id"),
        _number("version"),
        _at("changed_at"),
        _text("actor"),
        sa.Column("before", sa.Text),
        _text("after"),
        _text("cause_event_id"),
        sa.PrimaryKeyConstraint("access_code_id", "version"),
        schema=SCHEMA,
    )
    # The audit is append-only, codes are never deleted, and interview reads four columns.
    op.execute(f"REVOKE UPDATE, DELETE ON {SCHEMA}.access_code_events FROM {RUNTIME}")
    op.execute(f"REVOKE DELETE ON {SCHEMA}.access_codes FROM {RUNTIME}")
    op.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO interview_runtime")
    op.execute(
        f"GRANT SELECT (id, code, status, expire_at) ON {SCHEMA}.access_codes TO interview_runtime"
    )
