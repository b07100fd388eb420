"""Baseline: the bus, stored replies, cached codes, sessions, questions and answers, feedback.

Revision ID: 0001
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from eventbus import tables as bus_tables
from runtime.database import idempotency

revision = "0001"
down_revision = None
oldest_served_code = "0001"

SCHEMA = "interview"
RUNTIME_ROLE = "interview_runtime"


def _timestamp(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=nullable, server_default=default)


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default="false")


def upgrade() -> None:
    bus_tables.create(op.get_bind(), SCHEMA, RUNTIME_ROLE)
    idempotency.create(op.get_bind(), SCHEMA)
    _create_cached_codes()
    _create_sessions()
    _create_qa_records()
    _create_feedback()
    _create_watermarks()


def _create_cached_codes() -> None:
    op.create_table(
        "cached_codes",
        sa.Column("order_id", sa.Text, primary_key=True),
        _text("access_code_id"),
        _text("code"),
        _text("status"),
        _timestamp("expire_at"),
        sa.Column("version", sa.BigInteger, nullable=False),
        _text("product_id"),
        _flag("refunded"),
        _text("customer_id", nullable=True),
        _text("email", nullable=True),
        _text("display_name", nullable=True),
        _text("language_code", nullable=True),
        schema=SCHEMA,
    )
    op.create_index("cached_codes_code_idx", "cached_codes", ["code"], unique=True, schema=SCHEMA)
    op.create_index(
        "cached_codes_access_code_idx", "cached_codes", ["access_code_id"], schema=SCHEMA
    )
    op.create_index(
        "cached_codes_live_idx",
        "cached_codes",
        ["expire_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("status IN ('ACTIVE', 'SUSPENDED')"),
    )


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Text, primary_key=True),
        _text("order_id"),
        _text("customer_id"),
        _text("email", default=""),
        _text("display_name", default=""),
        _text("language_code", default=""),
        _text("product_id"),
        _text("access_code_id"),
        sa.Column("question_set", JSONB, nullable=False),
        _text("status"),
        _timestamp("prepared_at"),
        _text("access_code", nullable=True),
        _timestamp("started_at", nullable=True),
        _text("validated_by", nullable=True),
        _timestamp("deadline_at", nullable=True),
        _timestamp("ended_at", nullable=True),
        _text("cancel_reason", nullable=True),
        sa.Column("answered_count", sa.Integer, nullable=False, server_default="0"),
        _flag("use_rejected"),
        _timestamp("start_reannounced_at", nullable=True),
        sa.UniqueConstraint("order_id"),
        schema=SCHEMA,
    )
    op.create_index(
        "sessions_customer_idx", "sessions", ["customer_id", "session_id"], schema=SCHEMA
    )
    op.create_index("sessions_access_code_idx", "sessions", ["access_code_id"], schema=SCHEMA)
    op.create_index(
        "sessions_in_progress_idx",
        "sessions",
        ["deadline_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'IN_PROGRESS'"),
    )


def _create_qa_records() -> None:
    op.create_table(
        "qa_records",
        _text("session_id"),
        sa.Column("number", sa.Integer, nullable=False),
        _text("question_id"),
        _timestamp("asked_at"),
        _timestamp("answer_by"),
        _text("answer"),
        _timestamp("answered_at", nullable=True),
        sa.PrimaryKeyConstraint("session_id", "number"),
        sa.UniqueConstraint("session_id", "question_id"),
        schema=SCHEMA,
    )


def _create_feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("feedback_id", sa.Text, primary_key=True),
        _text("session_id"),
        sa.Column("rating", sa.Integer, nullable=False),
        _text("summary"),
        sa.Column("comments", JSONB, nullable=False),
        _text("given_by"),
        _timestamp("created_at"),
        sa.UniqueConstraint("session_id"),
        schema=SCHEMA,
    )


def _create_watermarks() -> None:
    op.create_table(
        "payment_watermark",
        sa.Column("singleton", sa.Integer, primary_key=True, autoincrement=False),
        _timestamp("as_of"),
        sa.Column("stream_sequence", sa.BigInteger, nullable=False),
        _timestamp("covered_as_of", nullable=True),
        _timestamp("warmed_up_at", nullable=True),
        sa.CheckConstraint("singleton = 1", name="one_row"),
        schema=SCHEMA,
    )
    op.execute(
        f"INSERT INTO {SCHEMA}.payment_watermark (singleton, as_of, stream_sequence)"  # noqa: S608
        " VALUES (1, 'epoch', 0)"
    )
    op.create_table(
        "pending_watermarks",
        sa.Column("stream_sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        _timestamp("as_of"),
        schema=SCHEMA,
    )
