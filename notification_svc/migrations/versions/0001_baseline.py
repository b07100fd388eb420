"""Baseline: bus, stored replies, notifications, claim holders, code versions, mail settings.

Revision ID: 0001
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from eventbus import tables as bus_tables
from runtime.database import idempotency

revision = "0001"
down_revision = None
oldest_served_code = "0001"

SCHEMA = "notification"
RUNTIME_ROLE = "notification_runtime"


def _timestamp(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=nullable, server_default=default)


def upgrade() -> None:
    bus_tables.create(op.get_bind(), SCHEMA, RUNTIME_ROLE)
    idempotency.create(op.get_bind(), SCHEMA)
    _create_notifications()
    op.create_table(
        "claim_holders",
        sa.Column("holder_id", sa.Text, primary_key=True),
        sa.Column("pid", sa.Integer, nullable=False),
        _timestamp("backend_start"),
        schema=SCHEMA,
    )
    op.create_table(
        "code_versions",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        _text("status"),
        _text("access_code_id"),
        schema=SCHEMA,
    )
    op.create_table(
        "suppressions",
        sa.Column("email", sa.Text, primary_key=True),
        _text("suppression_id"),
        _text("reason"),
        _timestamp("created_at"),
        sa.UniqueConstraint("suppression_id"),
        schema=SCHEMA,
    )
    op.create_table(
        "mail_preferences",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("feedback_declined", sa.Boolean, nullable=False),
        schema=SCHEMA,
    )


def _create_notifications() -> None:
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
        _text("access_code_id", nullable=True),
        _text("access_code", nullable=True),
        sa.Column("version", sa.BigInteger),
        _text("product_id", nullable=True),
        _timestamp("expire_at", nullable=True),
        sa.Column("content", JSONB),
        _text("message_id"),
        _text("resend_of", default=""),
        _timestamp("created_at"),
        _timestamp("due_at", nullable=True),
        _text("status"),
        sa.Column("attempts", sa.Integer, nullable=False),
        _text("last_error"),
        _text("suppression_reason", nullable=True),
        _timestamp("sent_at", nullable=True),
        _text("claimed_by", nullable=True),
        sa.Column("possibly_delivered", sa.Boolean, nullable=False, server_default="false"),
        _timestamp("dismissed_at", nullable=True),
        sa.CheckConstraint(
            "(access_code IS NULL) <> (content IS NULL)", name="notifications_one_content_check"
        ),
        schema=SCHEMA,
    )
    _index("event", ["event_id", "email"], unique=True, where="resend_of = ''")
    _index("order", ["order_id", "notification_id"])
    _index("customer", ["customer_id", "notification_id"])
    _index("due", ["due_at"], where="due_at IS NOT NULL")
    _index("sending", ["order_id"], unique=True, where="status = 'SENDING'")
    _index(
        "failed",
        ["notification_id"],
        where="status = 'FAILED' OR suppression_reason = 'ADDRESS_SUPPRESSED'",
    )
    _index("resend", ["resend_of"], where="resend_of <> ''")


def _index(name: str, columns: list[str], *, unique: bool = False, where: str = "") -> None:
    op.create_index(
        f"notifications_{name}_idx",
        "notifications",
        columns,
        unique=unique,
        schema=SCHEMA,
        postgresql_where=sa.text(where) if where else None,
    )
