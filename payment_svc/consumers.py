"""What payment listens to."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import NeverHandled, Received, Subscriptions
from interview.v1 import events_pb2
from payment_svc.domain.access_codes import AccessCodeNotFound, AccessCodeNotRedeemable
from payment_svc.storage.unit_of_work import UnitOfWork
from payment_svc.use_cases import RedeemAccessCode, redeem_access_codes
from runtime.contracts import decoder, to_datetime


async def redeem_started(connection: AsyncConnection, batch: Sequence[Received]) -> None:
    """InterviewStarted: the codes are redeemed, and the audit cites the events."""
    commands = [
        RedeemAccessCode(
            access_code_id=received.payload.access_code_id,
            session_id=received.payload.session_id,
            started_at=to_datetime(received.payload.started_at),
            event_id=received.event.id,
        )
        for received in batch
    ]
    uow = UnitOfWork(connection)
    try:
        await redeem_access_codes(commands, uow, now=datetime.now(UTC))
    except (AccessCodeNotFound, AccessCodeNotRedeemable) as error:
        raise NeverHandled(str(error)) from error
    await uow.announce()


def subscriptions() -> Subscriptions:
    """Payment's handlers by event type."""
    bound = Subscriptions()
    bound.subscribe(
        "interview.v1.InterviewStarted", decoder(events_pb2.InterviewStarted), redeem_started
    )
    return bound
