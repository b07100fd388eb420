"""Refunds, and the life of access codes after they were issued.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

SCHEMA = "payment"
RUNTIME = "payment_runtime"
WITHOUT_OUTCOME = "status IN ('PENDING', 'UNKNOWN')"


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, default: str | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _ref(name: str, target: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, sa.ForeignKey(f"{SCHEMA}.{target}"), nullable=False)


def _flag(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Boolean, nullable=False, quote=True)


def upgrade() -> None:
    _extend_orders()
    _extend_access_codes()
    _create_refunds()
    _take_rights()


def _extend_orders() -> None:
    refunded = sa.Column("refunded_minor", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("orders", refunded, schema=SCHEMA)
    op.add_column("orders", _text("payment_id", default=""), schema=SCHEMA)
    # The first that succeeded is the one that paid; a later one is surplus.
    op.execute(
        f"UPDATE {SCHEMA}.orders SET payment_id = paid.payment_id"  # noqa: S608  our own names
        " FROM (SELECT DISTINCT ON (order_id) order_id, payment_id"
        f" FROM {SCHEMA}.payments WHERE status = 'SUCCEEDED' ORDER BY order_id, updated_at) AS paid"
        " WHERE orders.order_id = paid.order_id AND orders.paid_at IS NOT NULL"
    )


def _extend_access_codes() -> None:
    holds: sa.Column[list[str]] = sa.Column(
        "holds", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"
    )
    op.add_column("access_codes", holds, schema=SCHEMA)
    op.add_column("access_codes", _text("replaced_by", default=""), schema=SCHEMA)
    op.create_index(
        "access_codes_live_idx",
        "access_codes",
        ["expire_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("status IN ('ACTIVE', 'SUSPENDED')"),
    )
    op.add_column("access_code_events", _text("reason", default=""), schema=SCHEMA)


def _create_refunds() -> None:
    op.create_table(
        "refunds",
        sa.Column("refund_id", sa.Text, primary_key=True),
        _ref("order_id", "orders.order_id"),
        _ref("payment_id", "payments.payment_id"),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        _text("currency_code"),
        _flag("full"),
        _flag("surplus"),
        _text("reason"),
        _text("status"),
        _text("failure_reason"),
        sa.Column("asks", sa.Integer, nullable=False),
        _at("asked_at", nullable=True),
        _at("released_at", nullable=True),
        _at("created_at"),
        _at("updated_at"),
        sa.Column(
            "due_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        schema=SCHEMA,
    )
    op.create_index("refunds_order_idx", "refunds", ["order_id", "refund_id"], schema=SCHEMA)
    op.create_index(
        "refunds_due_idx",
        "refunds",
        ["due_at"],
        schema=SCHEMA,
        postgresql_where=sa.text(WITHOUT_OUTCOME),
    )
    op.create_index(
        "refunds_pending_idx",
        "refunds",
        ["order_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text(f"{WITHOUT_OUTCOME} AND NOT surplus"),
    )


def _take_rights() -> None:
    """The runtime role gets all rights on every table by default; it needs fewer."""
    for table in ("orders", "payments", "refunds"):
        op.execute(f"REVOKE DELETE ON {SCHEMA}.{table} FROM {RUNTIME}")
    op.execute(f"REVOKE INSERT, UPDATE, DELETE ON {SCHEMA}.products FROM {RUNTIME}")
