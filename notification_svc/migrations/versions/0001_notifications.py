"""Notifications, and the bus.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

from eventbus import tables as bus_schema
from runtime.database import idempotency

revision = "0001"
down_revision = None

SCHEMA = "notification"
RUNTIME = "notification_runtime"


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False)


def upgrade() -> None:
    bus_schema.create(op.get_bind(), SCHEMA, RUNTIME)
    idempotency.create(op.get_bind(), SCHEMA)
    op.create_table(
        "notifications",
        sa.Column("notification_id", sa.Text, primary_key=True),
        _text("order_id"),
        _text("customer_id"),
        _text("event_id"),
        _text("event_type"),
        _text("email"),
        _text("display_name"),
        _text("language_code"),
        _text("access_code_id"),
        _text("access_code"),
        sa.Column("version", sa.BigInteger, nullable=False),
        _text("product_id"),
        _at("expire_at"),
        _text("message_id"),
        _at("created_at"),
        _at("due_at", nullable=True),
        _text("status"),
        sa.Column("attempts", sa.Integer, nullable=False),
        _text("last_error"),
        _at("sent_at", nullable=True),
        sa.UniqueConstraint("event_id", "email"),
        schema=SCHEMA,
    )
    _index("notifications_order_idx", ["order_id", "notification_id"])
    _index("notifications_due_idx", ["due_at"], where="due_at IS NOT NULL")
    _index("notifications_sending_idx", ["order_id"], unique=True, where="status = 'SENDING'")


def _index(name: str, columns: list[str], *, unique: bool = False, where: str = "") -> None:
    op.create_index(
        name,
        "notifications",
        columns,
        unique=unique,
        schema=SCHEMA,
        postgresql_where=sa.text(where) if where else None,
    )
