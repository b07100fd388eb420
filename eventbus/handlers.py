"""Event handlers by event type, and the decoding of event bodies."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.event import Event, MalformedEnvelope
from eventbus.trace_context import in_traces


@dataclass(frozen=True, slots=True)
class Payload:
    """A decoded event body; its aggregate and version if it has them, else "" and 0."""

    payload: Any
    aggregate: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """A decoded event as a handler gets it. `stream_sequence` is its position in the stream."""

    event: Event
    payload: Any
    aggregate: str
    version: int
    stream_sequence: int


class Handler(Protocol):
    """Applies events inside the given transaction, or raises.

    It gets a batch in which no key occurs twice. It must not commit, and must not have effects
    outside the transaction. It raises PermanentError if a retry is useless.
    """

    def __call__(
        self, connection: AsyncConnection, batch: Sequence[IncomingEvent], /
    ) -> Awaitable[None]: ...


Decoder = Callable[[Event], Payload]


class HandlerRegistry:
    """The handlers of one consumer, by event type."""

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[Decoder, Handler]] = {}

    def subscribe(self, event_type: str, decode: Decoder, handler: Handler) -> None:
        """Registers the handler of an event type; `decode` may raise MalformedEnvelope."""
        if event_type in self._handlers:
            raise ValueError(f"{event_type} already has a handler")
        self._handlers[event_type] = (decode, handler)

    @property
    def types(self) -> frozenset[str]:
        """The event types that have a handler."""
        return frozenset(self._handlers)

    def decode(self, event: Event, stream_sequence: int) -> IncomingEvent:
        """Decodes an event's body; raises MalformedEnvelope, also for an unknown type."""
        if event.type not in self._handlers:
            raise MalformedEnvelope(f"no handler for {event.type}")
        decode, _ = self._handlers[event.type]
        body = decode(event)
        return IncomingEvent(event, body.payload, body.aggregate, body.version, stream_sequence)

    async def dispatch(self, connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        """Passes a batch to its handlers, the events of each key in their order."""
        for events in _rounds(batch):
            by_type: defaultdict[str, list[IncomingEvent]] = defaultdict(list)
            for incoming in events:
                by_type[incoming.event.type].append(incoming)
            traces = {
                incoming.event.key: incoming.event.traceparent
                for incoming in events
                if incoming.event.key
            }
            with in_traces(traces):
                for event_type in sorted(by_type):
                    _, handler = self._handlers[event_type]
                    await handler(connection, by_type[event_type])


def _rounds(batch: Sequence[IncomingEvent]) -> Iterator[list[IncomingEvent]]:
    """Splits a batch so that no round has a key twice and each key's events stay in order.

    Events of an aggregate are ordered by version: redelivery may have reordered the messages. Keys
    are sorted, so that two replicas lock the rows for events of one type in the same order. With
    several types or rounds in a batch, two replicas may still deadlock: the database then aborts
    one of the transactions, whose batch rolls back and is redelivered.
    """
    by_key: defaultdict[str, list[IncomingEvent]] = defaultdict(list)
    for incoming in batch:
        # Events without a key have no order among themselves and may share a round.
        by_key[incoming.event.key or f"event {incoming.event.id}"].append(incoming)
    for events in by_key.values():
        events.sort(key=lambda event: (event.aggregate, event.version, event.stream_sequence))
    for round_number in range(max(map(len, by_key.values()), default=0)):
        yield [
            by_key[key][round_number] for key in sorted(by_key) if len(by_key[key]) > round_number
        ]
