"""The four inserts that PaymentCompleted causes in interview, as plain SQL for the peers."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from interview.v1 import events_pb2 as interview_events
from interview_svc import question_bank
from payment.v1 import events_pb2
from runtime.ids import new_id

_BANK = question_bank.load()
_INBOX = (
    "INSERT INTO interview.inbox (consumer, event_id, state, key, stream_sequence)"
    " VALUES ('interview', $1, 'HANDLED', $2, $3) ON CONFLICT DO NOTHING"
)
_CACHED_CODE = (
    "INSERT INTO interview.cached_codes (order_id, access_code_id, code, status, expire_at,"
    " version, product_id, customer_id, email, display_name, language_code)"
    " VALUES ($1, $2, $3, 'ACTIVE', $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING"
)
_SESSION = (
    "INSERT INTO interview.sessions (session_id, order_id, customer_id, email, display_name,"
    " language_code, product_id, access_code_id, question_set, status, prepared_at)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'PREPARED', $10) ON CONFLICT DO NOTHING"
)
_OUTBOX = (
    "INSERT INTO interview.outbox (id, type, key, data, source, traceparent, occurred_at)"
    " VALUES ($1, 'interview.v1.SessionPrepared', $2, $3, 'interview', '', $4)"
)
# Not subscriptable when it runs.
Connection: TypeAlias = "asyncpg.Connection[Any] | PoolConnectionProxy[Any]"
Delivery = tuple[str, int, bytes]


async def insert(connection: Connection, deliveries: Sequence[Delivery]) -> None:
    """Handles events, given as id, stream sequence and body, in one transaction."""
    now = datetime.now(UTC)
    marks, codes, sessions, outbox = [], [], [], []
    for event_id, sequence, data in deliveries:
        event = events_pb2.PaymentCompleted.FromString(data)
        holder = event.recipient
        questions = _BANK.choose(event.product_id, holder.language_code)
        session_id = new_id("ses")
        prepared = interview_events.SessionPrepared(session_id=session_id, order_id=event.order_id)
        marks.append((event_id, event.order_id, sequence))
        codes.append((
            event.order_id, event.access_code_id, event.access_code,
            event.expire_at.ToDatetime(UTC), event.version, event.product_id, event.customer_id,
            holder.email, holder.display_name, holder.language_code,
        ))  # fmt: skip
        sessions.append((
            session_id, event.order_id, event.customer_id, holder.email, holder.display_name,
            holder.language_code, event.product_id, event.access_code_id,
            json.dumps(asdict(questions)), now,
        ))  # fmt: skip
        outbox.append((new_id("evt"), event.order_id, prepared.SerializeToString(), now))
    async with connection.transaction():
        await connection.executemany(_INBOX, marks)
        await connection.executemany(_CACHED_CODE, codes)
        await connection.executemany(_SESSION, sessions)
        await connection.executemany(_OUTBOX, outbox)


def database_url() -> str:
    """Interview's database, as asyncpg takes it."""
    return os.environ["INTERVIEW_DATABASE_URL"].replace("postgresql+asyncpg", "postgresql")
