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
    "require-concurrent-index-deletion": "takes a moment; nothing uses the index any more",
}

SCHEMA = "payment"


def upgrade() -> None:
    bus_tables.upgrade_indexes(op.get_bind(), SCHEMA)
    check_progress.create(op.get_bind(), SCHEMA)
    _index("orders_status_idx", "orders", "status", "order_id")
    _index("payments_captured_idx", "payments", "updated_at", where="captured_minor IS NOT NULL")
    _index("access_codes_status_idx", "access_codes", "status", "id")
    _index("refunds_status_idx", "refunds", "status", "refund_id")
    _index("refunds_updated_idx", "refunds", "updated_at")
    table = "provider_notifications"
    _index("provider_notifications_status_idx", table, "status", "provider_notification_id")
    op.drop_index("provider_notifications_quarantined_idx", table, schema=SCHEMA)


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
