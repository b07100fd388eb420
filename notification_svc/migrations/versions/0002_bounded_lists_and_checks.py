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

SCHEMA = "notification"
UNRESOLVED = (
    "(status = 'FAILED' OR suppression_reason = 'ADDRESS_SUPPRESSED' AND"
    " (access_code IS NOT NULL OR content ->> 'kind' = 'RefundContent' OR resend_of <> ''))"
    " AND dismissed_at IS NULL AND resent_at IS NULL"
)


def upgrade() -> None:
    bus_tables.upgrade_indexes(op.get_bind(), SCHEMA)
    check_progress.create(op.get_bind(), SCHEMA)
    op.create_index(
        "notifications_status_idx",
        "notifications",
        ["status", "notification_id"],
        schema=SCHEMA,
        if_not_exists=True,
    )
    op.add_column(
        "notifications", sa.Column("resent_at", sa.DateTime(timezone=True)), schema=SCHEMA
    )
    op.execute(
        f"UPDATE {SCHEMA}.notifications SET resent_at = resent.created_at"  # noqa: S608
        f" FROM (SELECT resend_of, min(created_at) AS created_at FROM {SCHEMA}.notifications"
        " WHERE resend_of <> '' GROUP BY resend_of) AS resent"
        " WHERE notification_id = resent.resend_of"
    )
    op.create_index(
        "notifications_unresolved_idx",
        "notifications",
        ["notification_id"],
        schema=SCHEMA,
        postgresql_where=sa.text(UNRESOLVED),
    )
    op.drop_index("notifications_failed_idx", "notifications", schema=SCHEMA)
