"""What retention drops of the published events is noted.

Revision ID: 0004
"""

from alembic import op

from eventbus import tables as bus_schema

revision = "0004"
down_revision = "0003"

SCHEMA = "payment"
RUNTIME = "payment_runtime"


def upgrade() -> None:
    bus_schema.remember_dropped(op.get_bind(), SCHEMA, RUNTIME)
