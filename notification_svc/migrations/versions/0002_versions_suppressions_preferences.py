"""Mails of every kind, versions of access codes, the suppression list, what customers want.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

SCHEMA = "notification"


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False)


def upgrade() -> None:
    for name in ("access_code_id", "access_code", "version", "product_id", "expire_at"):
        op.alter_column("notifications", name, nullable=True, schema=SCHEMA)
    for column in (
        sa.Column("content", JSONB),
        sa.Column("resend_of", sa.Text, nullable=False, server_default=""),
        sa.Column("suppression_reason", sa.Text),
    ):
        op.add_column("notifications", column, schema=SCHEMA)
    op.create_check_constraint(
        "notifications_one_content_check",
        "notifications",
        "(access_code IS NULL) <> (content IS NULL)",
        schema=SCHEMA,
    )
    op.drop_constraint("notifications_event_id_email_key", "notifications", schema=SCHEMA)
    op.create_index(
        "notifications_event_idx",
        "notifications",
        ["event_id", "email"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("resend_of = ''"),
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
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("suppression_id"),
        schema=SCHEMA,
    )
    op.create_table(
        "mail_preferences",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("feedback_declined", sa.Boolean, nullable=False),
        schema=SCHEMA,
    )
