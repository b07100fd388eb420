"""payment's handlers of interview's events."""

from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import HandlerRegistry, IncomingEvent, PermanentError
from interview.v1 import events_pb2
from payment_svc.domain.access_code_errors import AccessCodeNotFound, AccessCodeNotRedeemable
from payment_svc.domain.order_errors import OrderNotFound
from payment_svc.storage.unit_of_work import UnitOfWork
from payment_svc.use_cases.access_codes import RedeemAccessCode, redeem_access_codes
from payment_svc.use_cases.refunds import ReleaseRefund, release_refunds
from runtime.clock import utc_now
from runtime.event_handlers import register_handlers
from runtime.protobuf import to_datetime


async def on_interview_started(uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
    """Redeems the codes or rejects their use; interviews that count reject the waiting refunds."""
    commands = [
        RedeemAccessCode(
            order_id=incoming.payload.order_id,
            access_code_id=incoming.payload.access_code_id,
            session_id=incoming.payload.session_id,
            started_at=to_datetime(incoming.payload.started_at),
            refund_id=incoming.payload.refund_id,
            interview_ended=incoming.payload.interview_ended,
            event_id=incoming.event.id,
        )
        for incoming in batch
    ]
    try:
        await redeem_access_codes(commands, uow, clock=utc_now)
    except (OrderNotFound, AccessCodeNotFound, AccessCodeNotRedeemable) as error:
        raise PermanentError(str(error)) from error


async def on_session_withheld(uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
    """Releases the refunds that wait for this answer, so that they are submitted."""
    commands = [
        ReleaseRefund(incoming.payload.order_id, incoming.payload.refund_id) for incoming in batch
    ]
    await release_refunds(commands, uow, clock=utc_now)


def handler_registry(
    unit_of_work: Callable[[AsyncConnection], UnitOfWork] = UnitOfWork,
) -> HandlerRegistry:
    """The handlers, by type of event."""
    return register_handlers(
        unit_of_work,
        {
            events_pb2.InterviewStarted: on_interview_started,
            events_pb2.SessionWithheld: on_session_withheld,
        },
    )
