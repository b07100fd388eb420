"""What payment listens to."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import HandlerRegistry, IncomingEvent, PermanentError
from interview.v1 import events_pb2
from payment_svc.domain.access_code_errors import AccessCodeNotFound, AccessCodeNotRedeemable
from payment_svc.domain.orders import OrderNotFound
from payment_svc.storage.unit_of_work import UnitOfWork
from payment_svc.use_cases.access_codes import RedeemAccessCode, redeem_access_codes
from payment_svc.use_cases.refunds import ReleaseRefund, release_refunds
from runtime.protobuf import decoder, to_datetime


async def on_interview_started(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
    """InterviewStarted: codes are redeemed or their use is rejected; so are refunds that wait."""
    commands = [
        RedeemAccessCode(
            order_id=received.payload.order_id,
            access_code_id=received.payload.access_code_id,
            session_id=received.payload.session_id,
            started_at=to_datetime(received.payload.started_at),
            refund_id=received.payload.refund_id,
            event_id=received.event.id,
        )
        for received in batch
    ]
    uow = UnitOfWork(connection)
    try:
        await redeem_access_codes(commands, uow, now=datetime.now(UTC))
    except (OrderNotFound, AccessCodeNotFound, AccessCodeNotRedeemable) as error:
        raise PermanentError(str(error)) from error
    await uow.flush_events()


async def on_session_withheld(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
    """SessionWithheld: the refunds that it answers may go to the provider."""
    commands = [
        ReleaseRefund(received.payload.order_id, received.payload.refund_id) for received in batch
    ]
    uow = UnitOfWork(connection)
    await release_refunds(commands, uow, now=datetime.now(UTC))
    await uow.flush_events()


def handler_registry() -> HandlerRegistry:
    """Payment's handlers by event type."""
    bound = HandlerRegistry()
    for message_type, handler in (
        (events_pb2.InterviewStarted, on_interview_started),
        (events_pb2.SessionWithheld, on_session_withheld),
    ):
        bound.subscribe(message_type.DESCRIPTOR.full_name, decoder(message_type), handler)
    return bound
