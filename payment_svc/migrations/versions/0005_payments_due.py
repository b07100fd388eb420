"""When the provider is next asked about a payment: one that stays so keeps no other waiting.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"

SCHEMA = "payment"


def upgrade() -> None:
    op.add_column(
        "payments",
        sa.Column(
            "due_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        schema=SCHEMA,
    )
    op.create_index(
        "payments_due_idx",
        "payments",
        ["due_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("status IN ('PENDING', 'PROCESSING', 'UNKNOWN')"),
    )
    op.drop_index("payments_open_idx", "payments", schema=SCHEMA)
