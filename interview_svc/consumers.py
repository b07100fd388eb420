"""What interview listens to."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import Received, Subscriptions
from interview_svc import messages
from interview_svc.domain.questions import QuestionBank
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.use_cases import PrepareSession, apply_records, prepare_sessions
from payment.v1 import events_pb2
from runtime.contracts import decoder, new_id, to_datetime


class PrepareSessions:
    """PaymentCompleted: each order gets its session, and its code an entry."""

    def __init__(self, bank: QuestionBank) -> None:
        self._bank = bank

    async def __call__(self, connection: AsyncConnection, batch: Sequence[Received]) -> None:
        uow = UnitOfWork(connection)
        commands = [
            PrepareSession(
                record=messages.issued(received.payload),
                customer_id=received.payload.customer_id,
                language_code=received.payload.recipient.language_code,
            )
            for received in batch
        ]
        await prepare_sessions(
            commands,
            uow,
            bank=self._bank,
            new_id=lambda: new_id("ses"),
            now=datetime.now(UTC),
        )
        await uow.announce()


async def note_redeemed(connection: AsyncConnection, batch: Sequence[Received]) -> None:
    """AccessCodeRedeemed: the entries take the newer records."""
    records = [messages.record(received.payload.record) for received in batch]
    await apply_records(records, UnitOfWork(connection))


async def note_watermark(connection: AsyncConnection, batch: Sequence[Received]) -> None:
    """Watermark: the newest says how fresh the entries are."""
    newest = max(batch, key=lambda received: received.stream_sequence)
    as_of = to_datetime(newest.payload.as_of)
    await UnitOfWork(connection).watermark.raise_to(as_of, newest.stream_sequence)


def subscriptions(bank: QuestionBank) -> Subscriptions:
    """Interview's handlers by event type."""
    bound = Subscriptions()
    for message_type, handler in (
        (events_pb2.PaymentCompleted, PrepareSessions(bank)),
        (events_pb2.AccessCodeRedeemed, note_redeemed),
        (events_pb2.Watermark, note_watermark),
    ):
        bound.subscribe(message_type.DESCRIPTOR.full_name, decoder(message_type), handler)
    return bound
