"""The calls that asked for refunds, so that none is made twice however late a call is repeated.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

SCHEMA = "payment"


def upgrade() -> None:
    # Refunds that exist don't know theirs; nor has a refund of surplus any.
    op.add_column("refunds", sa.Column("caller", sa.Text), schema=SCHEMA)
    op.add_column("refunds", sa.Column("request_id", sa.Text), schema=SCHEMA)
    op.add_column("refunds", sa.Column("request_hash", sa.LargeBinary), schema=SCHEMA)
    op.create_unique_constraint(
        "refunds_caller_request_id_key", "refunds", ["caller", "request_id"], schema=SCHEMA
    )
