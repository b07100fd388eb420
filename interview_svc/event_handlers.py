"""What interview listens to."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import HandlerRegistry, IncomingEvent, PermanentError
from interview_svc.domain.cached_code import CodeUpdate
from interview_svc.domain.questions import QuestionBank
from interview_svc.messages import payment_codes
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.use_cases.code_updates import (
    RefundAsk,
    UseRejected,
    answer_refunds,
    apply_records,
    reject_uses,
)
from interview_svc.use_cases.ports import Preparation
from payment.v1 import events_pb2
from runtime.protobuf import decoder, new_id, to_datetime

_log = structlog.get_logger(__name__)
Handling = Callable[[AsyncConnection, Sequence[IncomingEvent]], Awaitable[None]]


class Listener:
    """What is heard about codes takes effect in entries and sessions, in one transaction."""

    def __init__(self, bank: QuestionBank) -> None:
        self._bank = bank

    def _preparation(self) -> Preparation:
        return Preparation(self._bank, lambda: new_id("ses"), datetime.now(UTC))

    async def paid(self, connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        """PaymentCompleted: each order gets its session, and its code an entry."""
        await self._apply(
            connection, [payment_codes.issued(received.payload) for received in batch]
        )

    async def changed(self, connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        """Any other event with a record. One without says that the order never had a code."""
        await self._apply(
            connection,
            [
                _record(received.payload)
                for received in batch
                if received.payload.HasField("record")
            ],
        )

    async def refunded(self, connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        """RefundCompleted: the same; a full one is why the code is worthless."""
        await self._apply(
            connection,
            [
                _record(received.payload, refunded=received.payload.full)
                for received in batch
                if received.payload.HasField("record")
            ],
        )

    async def _apply(self, connection: AsyncConnection, told: Sequence[CodeUpdate]) -> None:
        uow = UnitOfWork(connection)
        await apply_records(told, uow, preparation=self._preparation())
        await uow.flush_events()

    async def asked(self, connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        """RefundRequested: every one is answered."""
        uow = UnitOfWork(connection)
        asks = [
            RefundAsk(_record(received.payload), received.payload.refund_id) for received in batch
        ]
        await answer_refunds(asks, uow, preparation=self._preparation())
        await uow.flush_events()

    async def rejected(self, connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        """AccessCodeUseRejected: the start is undone, or reported if it is too late for that."""
        uow = UnitOfWork(connection)
        rejections = [
            UseRejected(_record(received.payload), received.payload.session_id)
            for received in batch
        ]
        for session in await reject_uses(rejections, uow, preparation=self._preparation()):
            _log.warning(
                "used without right",
                order_id=session.order_id,
                session_id=session.session_id,
                status=session.status,
            )
        await uow.flush_events()


async def note_watermarks(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
    """Watermark: it says how fresh the entries are, once all before it was handled."""
    marks = [(received.stream_sequence, to_datetime(received.payload.as_of)) for received in batch]
    await UnitOfWork(connection).watermarks.note_many(marks)


def _record(message: Any, *, refunded: bool = False) -> CodeUpdate:
    if message.record.order_id != message.order_id:
        raise PermanentError(
            f"the record is of {message.record.order_id}, not of the event's order"
        )
    return CodeUpdate(payment_codes.record(message.record), refunded=refunded)


def handler_registry(bank: QuestionBank) -> HandlerRegistry:
    """Interview's handlers by event type."""
    listener = Listener(bank)
    handlers: dict[type[Message], Handling] = {
        events_pb2.PaymentCompleted: listener.paid,
        events_pb2.RefundRequested: listener.asked,
        events_pb2.RefundCompleted: listener.refunded,
        events_pb2.RefundRejected: listener.changed,
        events_pb2.RefundFailed: listener.changed,
        events_pb2.AccessCodeSuspended: listener.changed,
        events_pb2.AccessCodeReinstated: listener.changed,
        events_pb2.AccessCodeRevoked: listener.changed,
        events_pb2.AccessCodeExpired: listener.changed,
        events_pb2.AccessCodeRedeemed: listener.changed,
        events_pb2.AccessCodeReissued: listener.changed,
        events_pb2.AccessCodeUseRejected: listener.rejected,
        events_pb2.Watermark: note_watermarks,
    }
    bound = HandlerRegistry()
    for message_type, handler in handlers.items():
        bound.subscribe(message_type.DESCRIPTOR.full_name, decoder(message_type), handler)
    return bound


def after_commit(
    wake: Callable[[], None], heard_of: Callable[[Sequence[str]], None]
) -> Callable[[Sequence[IncomingEvent]], None]:
    """What follows in memory once events have taken effect."""

    def follow(batch: Sequence[IncomingEvent]) -> None:
        heard_of([received.event.key for received in batch if received.event.key])
        wake()

    return follow
