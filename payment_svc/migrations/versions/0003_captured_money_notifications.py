"""What providers captured, their notifications, and an index of unpaid orders.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SCHEMA = "payment"
RUNTIME = "payment_runtime"


def upgrade() -> None:
    op.add_column("payments", sa.Column("captured_minor", sa.BigInteger), schema=SCHEMA)
    op.execute(
        f"UPDATE {SCHEMA}.payments SET captured_minor = amount_minor"  # noqa: S608  our own name
        " WHERE status = 'SUCCEEDED'"
    )
    op.create_index(
        "orders_unpaid_idx",
        "orders",
        ["expire_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'PENDING_PAYMENT'"),
    )
    _create_payment_notifications()


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False)


def _at(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _create_payment_notifications() -> None:
    table = "payment_notifications"
    op.create_table(
        table,
        sa.Column("payment_notification_id", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        _text("payment_id"),
        _text("order_id"),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        _text("currency_code"),
        _text("outcome"),
        _text("decline_reason"),
        _text("status"),
        _text("quarantine_reason"),
        _at("received_at"),
        sa.Column("deliveries", sa.Integer, nullable=False),
        _at("due_at"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        schema=SCHEMA,
    )
    op.create_index(
        "payment_notifications_due_idx",
        table,
        ["due_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'RECEIVED'"),
    )
    op.create_index(
        "payment_notifications_quarantined_idx",
        table,
        ["payment_notification_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'QUARANTINED'"),
    )
    # What providers told is kept.
    op.execute(f"REVOKE DELETE ON {SCHEMA}.{table} FROM {RUNTIME}")
