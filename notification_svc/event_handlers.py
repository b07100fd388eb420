"""notification's event handlers; `messages.incoming` converts each event type to a command."""

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from eventbus import HandlerRegistry, IncomingEvent
from notification_svc.messages.incoming import INTERVIEW, PAYMENT, Converter
from notification_svc.storage.unit_of_work import UnitOfWork
from notification_svc.use_cases.ports import IdFactory
from notification_svc.use_cases.queueing import handle_events
from runtime.event_handlers import EventHandler, register_handlers


def payment_events(ids: IdFactory) -> HandlerRegistry:
    """The handlers of payment's events."""
    return _registry(PAYMENT, ids)


def interview_events(ids: IdFactory) -> HandlerRegistry:
    """The handlers of interview's events."""
    return _registry(INTERVIEW, ids)


def _registry(converters: Mapping[type[Message], Converter], ids: IdFactory) -> HandlerRegistry:
    handlers = {
        message_type: _handler(convert, ids) for message_type, convert in converters.items()
    }
    return register_handlers(UnitOfWork, handlers)


def _handler(convert: Converter, ids: IdFactory) -> EventHandler[UnitOfWork]:
    async def handle(uow: UnitOfWork, batch: Sequence[IncomingEvent]) -> None:
        """Updates code versions and queues mails."""
        commands = [convert(incoming.event, incoming.payload) for incoming in batch]
        await handle_events(commands, uow, ids=ids, now=await uow.clock())

    return handle
