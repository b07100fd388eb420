"""notification's event handlers; `messages.incoming` says what each event type means."""

from collections.abc import Sequence

from eventbus import HandlerRegistry, IncomingEvent
from notification_svc.messages.incoming import INTERVIEW, PAYMENT, Hear
from notification_svc.storage.unit_of_work import UnitOfWork
from notification_svc.use_cases.ports import NewIdentity
from notification_svc.use_cases.queueing import handle_events
from runtime.event_handlers import EventHandler, register_handlers


def payment_events(identity: NewIdentity) -> HandlerRegistry:
    """The handlers of payment's events."""
    return register_handlers(UnitOfWork, {kind: _handler(hear, identity) for kind, hear in PAYMENT})


def interview_events(identity: NewIdentity) -> HandlerRegistry:
    """The handlers of interview's events."""
    return register_handlers(
        UnitOfWork, {kind: _handler(hear, identity) for kind, hear in INTERVIEW}
    )


def _handler(hear: Hear, identity: NewIdentity) -> EventHandler[UnitOfWork]:
    async def handle(uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Raises code versions and queues mails."""
        commands = [hear(incoming.event, incoming.payload) for incoming in batch]
        await handle_events(commands, uow, identity=identity, now=await uow.clock())

    return handle
