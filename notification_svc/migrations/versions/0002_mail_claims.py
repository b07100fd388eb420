"""Mails: holder of the claim, possible delivery, dismissal; the failed ones indexed.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SCHEMA = "notification"
TABLE = "notifications"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("claimed_by", sa.Integer), schema=SCHEMA)
    op.add_column(
        TABLE,
        sa.Column(
            "possibly_delivered", sa.Boolean, nullable=False, server_default=sa.text("false")
        ),
        schema=SCHEMA,
    )
    op.add_column(TABLE, sa.Column("dismissed_at", sa.DateTime(timezone=True)), schema=SCHEMA)
    op.create_index(
        "notifications_failed_idx",
        TABLE,
        ["notification_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'FAILED'"),
    )
    op.create_index(
        "notifications_resend_idx",
        TABLE,
        ["resend_of"],
        schema=SCHEMA,
        postgresql_where=sa.text("resend_of <> ''"),
    )
