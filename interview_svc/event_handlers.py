"""interview's event handlers."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
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
from runtime.event_handlers import register_handlers
from runtime.ids import new_id
from runtime.protobuf import to_datetime

_log = structlog.get_logger(__name__)


class CodeEventHandlers:
    """Applies payment's events about codes to cached codes and sessions, in one transaction."""

    def __init__(self, bank: QuestionBank) -> None:
        self._bank = bank

    def _preparation(self) -> Preparation:
        return Preparation(self._bank, lambda: new_id("ses"), datetime.now(UTC))

    async def on_payment_completed(self, uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Creates the session of each order and caches its code."""
        updates = [payment_codes.issued(incoming.payload) for incoming in batch]
        await apply_records(updates, uow, preparation=self._preparation())

    async def on_code_changed(self, uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Applies the record of any other event. Without a record the order never had a code."""
        updates = [
            _record(incoming.payload) for incoming in batch if incoming.payload.HasField("record")
        ]
        await apply_records(updates, uow, preparation=self._preparation())

    async def on_refund_completed(self, uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Applies the record; after a full refund the code is worthless."""
        updates = [
            _record(incoming.payload, refunded=incoming.payload.full)
            for incoming in batch
            if incoming.payload.HasField("record")
        ]
        await apply_records(updates, uow, preparation=self._preparation())

    async def on_refund_requested(self, uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Answers every request: the session is withheld, or the interview has started."""
        requests = [
            RefundAsk(_record(incoming.payload), incoming.payload.refund_id) for incoming in batch
        ]
        await answer_refunds(requests, uow, preparation=self._preparation())

    async def on_use_rejected(self, uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Undoes the start, or reports it if the interview is already completed."""
        rejections = [
            UseRejected(_record(incoming.payload), incoming.payload.session_id)
            for incoming in batch
        ]
        for session in await reject_uses(rejections, uow, preparation=self._preparation()):
            _log.warning(
                "code used without right",
                order_id=session.order_id,
                session_id=session.session_id,
                status=session.status,
            )


async def on_watermark(uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
    """Stores the watermarks; each counts once all events before it are handled."""
    watermarks = [
        (incoming.stream_sequence, to_datetime(incoming.payload.as_of)) for incoming in batch
    ]
    await uow.watermarks.note_many(watermarks)


def _record(message: Any, *, refunded: bool = False) -> CodeUpdate:
    if message.record.order_id != message.order_id:
        raise PermanentError(
            f"the record is of {message.record.order_id}, not of the event's order"
        )
    return CodeUpdate(payment_codes.record(message.record), refunded=refunded)


def handler_registry(
    bank: QuestionBank, unit_of_work: Callable[[AsyncConnection], UnitOfWork] = UnitOfWork
) -> HandlerRegistry:
    """The handlers by event type."""
    codes = CodeEventHandlers(bank)
    return register_handlers(
        unit_of_work,
        {
            events_pb2.PaymentCompleted: codes.on_payment_completed,
            events_pb2.RefundRequested: codes.on_refund_requested,
            events_pb2.RefundCompleted: codes.on_refund_completed,
            events_pb2.RefundRejected: codes.on_code_changed,
            events_pb2.RefundFailed: codes.on_code_changed,
            events_pb2.AccessCodeSuspended: codes.on_code_changed,
            events_pb2.AccessCodeReinstated: codes.on_code_changed,
            events_pb2.AccessCodeRevoked: codes.on_code_changed,
            events_pb2.AccessCodeExpired: codes.on_code_changed,
            events_pb2.AccessCodeRedeemed: codes.on_code_changed,
            events_pb2.AccessCodeReissued: codes.on_code_changed,
            events_pb2.AccessCodeUseRejected: codes.on_use_rejected,
            events_pb2.Watermark: on_watermark,
        },
    )


def after_commit(
    wake: Callable[[], None], invalidate: Callable[[Sequence[str]], None]
) -> Callable[[Sequence[IncomingEvent]], None]:
    """Effects in memory after a batch: previews of its orders are dropped, the relay is woken."""

    def run(batch: Sequence[IncomingEvent]) -> None:
        invalidate([incoming.event.key for incoming in batch if incoming.event.key])
        wake()

    return run
