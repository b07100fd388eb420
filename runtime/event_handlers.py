"""Binds a service's event handlers to the bus: decoding, unit of work and flush in one place."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import HandlerRegistry, IncomingEvent
from eventbus.handlers import Handler
from runtime.database.transactions import Work
from runtime.protobuf import decoder

EventHandler = Callable[[Work, Sequence[IncomingEvent]], Awaitable[None]]


def register_handlers(
    unit_of_work: Callable[[AsyncConnection], Work],
    handlers: Mapping[type[Message], EventHandler[Work]],
) -> HandlerRegistry:
    """A registry with one handler per event type.

    A handler gets the unit of work of the consumer's transaction and a batch of events of its type
    in which no key occurs twice. What the unit of work collected is flushed after the handler.
    """
    registry = HandlerRegistry()
    for message_type, handler in handlers.items():
        event_type = message_type.DESCRIPTOR.full_name
        registry.subscribe(event_type, decoder(message_type), _bind(unit_of_work, handler))
    return registry


def _bind(unit_of_work: Callable[[AsyncConnection], Work], handler: EventHandler[Work]) -> Handler:
    async def handle(connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        uow = unit_of_work(connection)
        await handler(uow, batch)
        await uow.flush_events()

    return handle
