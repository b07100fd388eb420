"""What notification listens to; what each event says to it stands in `hearing`."""

from collections.abc import Iterable, Sequence

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import Received, Subscriptions
from notification_svc.messages.incoming import INTERVIEW, PAYMENT, Hear
from notification_svc.storage.unit_of_work import UnitOfWork
from notification_svc.use_cases.ports import NewIdentity
from notification_svc.use_cases.queueing import take_in
from runtime.protobuf import decoder


class EventHandler:
    """Takes in what events of one type say."""

    def __init__(self, hear: Hear, identity: NewIdentity) -> None:
        self._hear, self._identity = hear, identity

    async def __call__(self, connection: AsyncConnection, batch: Sequence[Received]) -> None:
        """Raises versions and queues mails."""
        commands = [self._hear(one.event, one.payload) for one in batch]
        uow = UnitOfWork(connection)
        await take_in(commands, uow, identity=self._identity, now=await uow.clock())
        await uow.announce()


def payment_events(identity: NewIdentity) -> Subscriptions:
    """The handlers of payment's events."""
    return _bound(PAYMENT, identity)


def interview_events(identity: NewIdentity) -> Subscriptions:
    """The handlers of interview's events."""
    return _bound(INTERVIEW, identity)


def _bound(heard: Iterable[tuple[type[Message], Hear]], identity: NewIdentity) -> Subscriptions:
    bound = Subscriptions()
    for message_type, hear in heard:
        handler = EventHandler(hear, identity)
        bound.subscribe(message_type.DESCRIPTOR.full_name, decoder(message_type), handler)
    return bound
