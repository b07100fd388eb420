"""An index of mails by customer, for those who list their own.

Revision ID: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"

SCHEMA = "notification"


def upgrade() -> None:
    op.create_index(
        "notifications_customer_idx",
        "notifications",
        ["customer_id", "notification_id"],
        schema=SCHEMA,
    )
