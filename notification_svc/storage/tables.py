"""notification's tables."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from eventbus import BusTables
from runtime.database.engine import metadata as schema_metadata
from runtime.database.idempotency import define_table
from runtime.ops.check_progress import define_table as define_check_progress

SCHEMA = "notification"
metadata = schema_metadata(SCHEMA)
bus = BusTables.define(metadata)
request_replies = define_table(metadata)
check_progress = define_check_progress(metadata)

notifications = Table(
    "notifications",
    metadata,
    Column("notification_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("language_code", Text, nullable=False),
    # An access code has its own columns, since versions are compared; other contents are JSON.
    Column("access_code_id", Text),
    Column("access_code", Text),
    Column("version", BigInteger),
    Column("product_id", Text),
    Column("expire_at", DateTime(timezone=True)),
    Column("content", JSONB(none_as_null=True)),
    Column("message_id", Text, nullable=False),
    Column("resend_of", Text, nullable=False, server_default=""),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True)),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("suppression_reason", Text),
    Column("sent_at", DateTime(timezone=True)),
    # When an operator gave a mail up.
    Column("dismissed_at", DateTime(timezone=True)),
    # When it was sent again, as another mail; NULL also if a process of an earlier release did.
    Column("resent_at", DateTime(timezone=True)),
    # The process that claimed it last; see `storage/claim_holders.py`.
    Column("claimed_by", Text),
    # An attempt ended without a known outcome.
    Column("possibly_delivered", Boolean, nullable=False, server_default="false"),
    CheckConstraint("(access_code IS NULL) <> (content IS NULL)", name="one_content"),
    # One mail per event and recipient; resends are additional.
    Index(
        "notifications_event_idx",
        "event_id",
        "email",
        unique=True,
        postgresql_where=text("resend_of = ''"),
    ),
    Index("notifications_order_idx", "order_id", "notification_id"),
    Index("notifications_customer_idx", "customer_id", "notification_id"),
    Index("notifications_status_idx", "status", "notification_id"),
    Index("notifications_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    # Mails that need an operator: few among many, and counted every few seconds. The condition is
    # that of `mail_status.is_unresolved`.
    Index(
        "notifications_unresolved_idx",
        "notification_id",
        postgresql_where=text(
            "(status = 'FAILED' OR suppression_reason = 'ADDRESS_SUPPRESSED' AND"
            " (access_code IS NOT NULL OR content ->> 'kind' = 'RefundContent' OR resend_of <> ''))"
            " AND dismissed_at IS NULL AND resent_at IS NULL"
        ),
    ),
    Index("notifications_resend_idx", "resend_of", postgresql_where=text("resend_of <> ''")),
    # At most one mail per order is being sent.
    Index(
        "notifications_sending_idx",
        "order_id",
        unique=True,
        postgresql_where=text("status = 'SENDING'"),
    ),
)

# The database session of each process that sends mails; see `storage/claim_holders.py`.
claim_holders = Table(
    "claim_holders",
    metadata,
    Column("holder_id", Text, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("backend_start", DateTime(timezone=True), nullable=False),
)

code_versions = Table(
    "code_versions",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("access_code_id", Text, nullable=False),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("email", Text, primary_key=True),
    # Sorts by age, for pages.
    Column("suppression_id", Text, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

mail_preferences = Table(
    "mail_preferences",
    metadata,
    Column("customer_id", Text, primary_key=True),
    Column("feedback_declined", Boolean, nullable=False),
)
