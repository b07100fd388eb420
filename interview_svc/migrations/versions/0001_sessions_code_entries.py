"""Sessions, copies of access codes, and the bus.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from eventbus import tables as bus_schema
from runtime.database import idempotency

revision = "0001"
down_revision = None

SCHEMA = "interview"
RUNTIME = "interview_runtime"


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False)


def upgrade() -> None:
    bus_schema.create(op.get_bind(), SCHEMA, RUNTIME)
    idempotency.create(op.get_bind(), SCHEMA)
    op.create_table(
        "cached_codes",
        sa.Column("order_id", sa.Text, primary_key=True),
        _text("access_code_id"),
        _text("code"),
        _text("status"),
        _at("expire_at"),
        sa.Column("version", sa.BigInteger, nullable=False),
        _text("product_id"),
        schema=SCHEMA,
    )
    op.create_index("code_entries_code_idx", "cached_codes", ["code"], unique=True, schema=SCHEMA)
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Text, primary_key=True),
        _text("order_id"),
        _text("customer_id"),
        _text("product_id"),
        _text("access_code_id"),
        sa.Column("question_set", JSONB, nullable=False),
        _text("status"),
        _at("prepared_at"),
        _at("started_at", nullable=True),
        sa.Column("validated_by", sa.Text),
        sa.UniqueConstraint("order_id"),
        schema=SCHEMA,
    )
    op.create_index(
        "sessions_customer_idx", "sessions", ["customer_id", "session_id"], schema=SCHEMA
    )
    op.create_table(
        "payment_watermark",
        sa.Column("singleton", sa.Integer, primary_key=True, autoincrement=False),
        _at("as_of"),
        sa.Column("stream_sequence", sa.BigInteger, nullable=False),
        sa.CheckConstraint("singleton = 1", name="one_row"),
        schema=SCHEMA,
    )
