"""Interviews: questions and answers, feedback, holders of codes, and how fresh the copies are.

Revision ID: 0002
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

SCHEMA = "interview"


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _blank(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _flag(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default="false")


def upgrade() -> None:
    _know_holders()
    _live_on_after_the_start()
    _create_qa_records()
    _create_feedback()
    for name in ("covered_as_of", "warmed_up_at"):
        op.add_column("payment_watermark", _at(name, nullable=True), schema=SCHEMA)
    op.execute(
        f"INSERT INTO {SCHEMA}.payment_watermark (singleton, as_of, stream_sequence)"  # noqa: S608
        " VALUES (1, 'epoch', 0) ON CONFLICT DO NOTHING"
    )
    op.create_table(
        "pending_watermarks",
        sa.Column("stream_sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        _at("as_of"),
        schema=SCHEMA,
    )


def _know_holders() -> None:
    holder = ("customer_id", "email", "display_name", "language_code")
    op.add_column("cached_codes", _flag("refunded"), schema=SCHEMA)
    for name in holder:
        op.add_column("cached_codes", _text(name, nullable=True), schema=SCHEMA)
    op.create_index(
        "code_entries_access_code_idx", "cached_codes", ["access_code_id"], schema=SCHEMA
    )
    op.create_index(
        "code_entries_open_idx",
        "cached_codes",
        ["expire_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("status IN ('ACTIVE', 'SUSPENDED')"),
    )


def _live_on_after_the_start() -> None:
    columns: list[sa.Column[Any]] = [
        *(_blank(name) for name in ("email", "display_name", "language_code")),
        _text("access_code", nullable=True),
        _at("deadline_at", nullable=True),
        _at("ended_at", nullable=True),
        _text("cancel_reason", nullable=True),
        sa.Column("answered_count", sa.Integer, nullable=False, server_default="0"),
        _flag("use_rejected"),
        _at("announced_again_at", nullable=True),
    ]
    for column in columns:
        op.add_column("sessions", column, schema=SCHEMA)
    op.create_index("sessions_access_code_idx", "sessions", ["access_code_id"], schema=SCHEMA)
    op.create_index(
        "sessions_running_idx",
        "sessions",
        ["deadline_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'IN_PROGRESS'"),
    )
    # Those that were started before there were deadlines.
    op.execute(
        f"UPDATE {SCHEMA}.sessions AS s SET access_code = e.code,"  # noqa: S608  our own names
        " deadline_at = s.started_at + interval '5 minutes' + make_interval(secs => ("
        " SELECT coalesce(sum((question ->> 'time_limit_seconds')::int), 0)"
        " FROM jsonb_array_elements(s.question_set -> 'questions') AS question))"
        f" FROM {SCHEMA}.cached_codes AS e"
        " WHERE e.order_id = s.order_id AND s.started_at IS NOT NULL"
    )


def _create_qa_records() -> None:
    op.create_table(
        "qa_records",
        _text("session_id"),
        sa.Column("number", sa.Integer, nullable=False),
        _text("question_id"),
        _at("asked_at"),
        _at("answer_by"),
        _text("answer"),
        _at("answered_at", nullable=True),
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
        _at("created_at"),
        sa.UniqueConstraint("session_id"),
        schema=SCHEMA,
    )
