"""What retention drops of the published events is noted.

Revision ID: 0003
"""

from alembic import op

from eventbus import tables as bus_schema

revision = "0003"
down_revision = "0002"

SCHEMA = "interview"
RUNTIME = "interview_runtime"


def upgrade() -> None:
    bus_schema.remember_dropped(op.get_bind(), SCHEMA, RUNTIME)
