"""What notification listens to; what each event says to it stands in `hearing`."""

from collections.abc import Iterable, Sequence

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import HandlerRegistry, IncomingEvent
from notification_svc.messages.incoming import INTERVIEW, PAYMENT, Hear
from notification_svc.storage.unit_of_work import UnitOfWork
from notification_svc.use_cases.ports import NewIdentity
from notification_svc.use_cases.queueing import handle_events
from runtime.protobuf import decoder


class EventHandler:
    """Takes in what events of one type say."""

    def __init__(self, hear: Hear, identity: NewIdentity) -> None:
        self._hear, self._identity = hear, identity

    async def __call__(self, connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        """Raises versions and queues mails."""
        commands = [self._hear(one.event, one.payload) for one in batch]
        uow = UnitOfWork(connection)
        await handle_events(commands, uow, identity=self._identity, now=await uow.clock())
        await uow.flush_events()


def payment_events(identity: NewIdentity) -> HandlerRegistry:
    """The handlers of payment's events."""
    return _bound(PAYMENT, identity)


def interview_events(identity: NewIdentity) -> HandlerRegistry:
    """The handlers of interview's events."""
    return _bound(INTERVIEW, identity)


def _bound(heard: Iterable[tuple[type[Message], Hear]], identity: NewIdentity) -> HandlerRegistry:
    bound = HandlerRegistry()
    for message_type, hear in heard:
        handler = EventHandler(hear, identity)
        bound.subscribe(message_type.DESCRIPTOR.full_name, decoder(message_type), handler)
    return bound
