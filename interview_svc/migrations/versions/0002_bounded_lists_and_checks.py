"""Indexes for lists and checks, and the progress of the checks.

An index that exists already is left: on a large table, an operator may create it before the
migration with CREATE INDEX CONCURRENTLY, which cannot run in the migration's transaction.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

from eventbus import tables as bus_tables
from runtime.ops import check_progress

revision = "0002"
down_revision = "0001"
oldest_served_code = "0001"
accepted_locks = {
    "require-concurrent-index-creation": "may be created CONCURRENTLY before: docs/operations.md",
}

SCHEMA = "interview"
LIVE = "status IN ('ACTIVE', 'SUSPENDED')"


def upgrade() -> None:
    bus_tables.upgrade_indexes(op.get_bind(), SCHEMA)
    check_progress.create(op.get_bind(), SCHEMA)
    _index("sessions_status_idx", "sessions", "status", "session_id")
    _index("cached_codes_live_order_idx", "cached_codes", "order_id", where=LIVE)


def _index(name: str, table: str, *columns: str, where: str | None = None) -> None:
    condition = sa.text(where) if where else None
    op.create_index(
        name,
        table,
        list(columns),
        schema=SCHEMA,
        postgresql_where=condition,
        if_not_exists=True,
    )
