"""interview's event handlers."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import HandlerRegistry, IncomingEvent, PermanentError
from interview_svc.domain.cached_code import CodeUpdate
from interview_svc.domain.session_factory import SessionFactory
from interview_svc.messages import payment_codes
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.use_cases.code_updates import (
    RefundRequest,
    UseRejection,
    answer_refund_requests,
    apply_code_updates,
    apply_use_rejections,
)
from payment.v1 import events_pb2
from runtime.clock import utc_now
from runtime.event_handlers import register_handlers
from runtime.protobuf import to_datetime

_log = structlog.get_logger(__name__)


class CodeEventHandlers:
    """Applies payment's events about access codes to cached codes and sessions."""

    def __init__(self, factory: SessionFactory) -> None:
        self._factory = factory

    async def on_payment_completed(self, uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Caches the code of each order and prepares its session."""
        updates = [payment_codes.from_payment_completed(incoming.payload) for incoming in batch]
        await self._apply(updates, uow)

    async def on_code_changed(self, uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Applies the record. An event of an order without a code has none and is ignored."""
        updates = [
            _update(incoming.payload) for incoming in batch if incoming.payload.HasField("record")
        ]
        await self._apply(updates, uow)

    async def on_refund_completed(self, uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Applies the record and whether the order was refunded in full."""
        updates = [
            _update(incoming.payload, refunded=incoming.payload.full)
            for incoming in batch
            if incoming.payload.HasField("record")
        ]
        await self._apply(updates, uow)

    async def on_refund_requested(self, uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Answers each request with SessionWithheld or InterviewStarted."""
        requests = [
            RefundRequest(_update(incoming.payload), incoming.payload.refund_id)
            for incoming in batch
        ]
        await answer_refund_requests(requests, uow, factory=self._factory, clock=utc_now)

    async def on_use_rejected(self, uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Reverts the start; logs a warning if the interview is completed already."""
        rejections = [
            UseRejection(_update(incoming.payload), incoming.payload.session_id)
            for incoming in batch
        ]
        completed = await apply_use_rejections(
            rejections, uow, factory=self._factory, clock=utc_now
        )
        for session in completed:
            _log.warning(
                "code used without right",
                order_id=session.order_id,
                session_id=session.session_id,
                status=session.status,
            )

    async def _apply(self, updates: Sequence[CodeUpdate], uow: UnitOfWork) -> None:
        await apply_code_updates(updates, uow, factory=self._factory, clock=utc_now)


async def on_watermark(uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
    """Stores the watermarks; each is covered once every event before it is handled."""
    watermarks = [
        (incoming.stream_sequence, to_datetime(incoming.payload.as_of)) for incoming in batch
    ]
    await uow.watermarks.add_many(watermarks)


def _update(message: Any, *, refunded: bool = False) -> CodeUpdate:
    if message.record.order_id != message.order_id:
        raise PermanentError(
            f"the event is of order {message.order_id}, its record of {message.record.order_id}"
        )
    return CodeUpdate(payment_codes.record(message.record), refunded=refunded)


def handler_registry(
    factory: SessionFactory, unit_of_work: Callable[[AsyncConnection], UnitOfWork] = UnitOfWork
) -> HandlerRegistry:
    """The handlers by event type."""
    codes = CodeEventHandlers(factory)
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
    wake_relay: Callable[[], None], invalidate_previews: Callable[[Sequence[str]], None]
) -> Callable[[Sequence[IncomingEvent]], None]:
    """The effects in memory after a batch of events: invalidates previews and wakes the relay."""

    def run(batch: Sequence[IncomingEvent]) -> None:
        invalidate_previews([incoming.event.key for incoming in batch if incoming.event.key])
        wake_relay()

    return run
