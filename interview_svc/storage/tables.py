"""interview's tables.

Of payment's tables interview may read four columns of one: see `drifts`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from eventbus import BusTables
from runtime.database.engine import metadata as schema_metadata
from runtime.database.idempotency import define_table
from runtime.ops.check_progress import define_table as define_check_progress

SCHEMA = "interview"
metadata = schema_metadata(SCHEMA)
bus = BusTables.define(metadata)
request_replies = define_table(metadata)
check_progress = define_check_progress(metadata)

cached_codes = Table(
    "cached_codes",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("access_code_id", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("expire_at", DateTime(timezone=True), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("refunded", Boolean, nullable=False, server_default="false"),
    # The holder: NULL until PaymentCompleted is handled, which can be after other events.
    Column("customer_id", Text),
    Column("email", Text),
    Column("display_name", Text),
    Column("language_code", Text),
    Index("cached_codes_code_idx", "code", unique=True),
    Index("cached_codes_access_code_idx", "access_code_id"),
    # For session expiry. Few rows are past `expire_at`: payment expires their codes soon.
    Index(
        "cached_codes_live_idx",
        "expire_at",
        postgresql_where="status IN ('ACTIVE', 'SUSPENDED')",
    ),
    # For the reconciliation with payment, which compares live codes in the order of their orders.
    Index(
        "cached_codes_live_order_idx",
        "order_id",
        postgresql_where="status IN ('ACTIVE', 'SUSPENDED')",
    ),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("email", Text, nullable=False, server_default=""),
    Column("display_name", Text, nullable=False, server_default=""),
    Column("language_code", Text, nullable=False, server_default=""),
    Column("product_id", Text, nullable=False),
    Column("access_code_id", Text, nullable=False),
    Column("question_set", JSONB, nullable=False),
    Column("status", Text, nullable=False),
    Column("prepared_at", DateTime(timezone=True), nullable=False),
    Column("access_code", Text),
    Column("started_at", DateTime(timezone=True)),
    Column("validated_by", Text),
    Column("deadline_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("cancel_reason", Text),
    Column("answered_count", Integer, nullable=False, server_default="0"),
    Column("use_rejected", Boolean, nullable=False, server_default="false"),
    Column("start_reannounced_at", DateTime(timezone=True)),
    UniqueConstraint("order_id"),
    Index("sessions_customer_idx", "customer_id", "session_id"),
    Index("sessions_access_code_idx", "access_code_id"),
    Index("sessions_status_idx", "status", "session_id"),
    Index("sessions_in_progress_idx", "deadline_at", postgresql_where="status = 'IN_PROGRESS'"),
)

qa_records = Table(
    "qa_records",
    metadata,
    Column("session_id", Text),
    Column("number", Integer),
    Column("question_id", Text, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("answer_by", DateTime(timezone=True), nullable=False),
    Column("answer", Text, nullable=False),
    Column("answered_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("session_id", "number"),
    UniqueConstraint("session_id", "question_id"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("feedback_id", Text, primary_key=True),
    Column("session_id", Text, nullable=False),
    Column("rating", Integer, nullable=False),
    Column("summary", Text, nullable=False),
    Column("comments", JSONB, nullable=False),
    Column("given_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("session_id"),
)

# How fresh the local cache is, in one row that the migration inserts: payment's newest watermark
# (as_of, stream_sequence), the newest one before which every event is handled (covered_as_of), and
# when the codes issued before interview consumed payment's events were cached (warmed_up_at).
payment_watermark = Table(
    "payment_watermark",
    metadata,
    Column(
        "singleton",
        Integer,
        CheckConstraint("singleton = 1", name="one_row"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("as_of", DateTime(timezone=True), nullable=False),
    Column("stream_sequence", BigInteger, nullable=False),
    Column("covered_as_of", DateTime(timezone=True)),
    Column("warmed_up_at", DateTime(timezone=True)),
)

# Watermarks before which some events of the stream may still be unhandled.
pending_watermarks = Table(
    "pending_watermarks",
    metadata,
    Column("stream_sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("as_of", DateTime(timezone=True), nullable=False),
)
