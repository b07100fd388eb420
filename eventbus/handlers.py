"""Which handler gets which events, and how their bodies are read."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.event import Event, MalformedEnvelope
from eventbus.trace_context import in_traces


@dataclass(frozen=True, slots=True)
class Payload:
    """An event's body; its aggregate and version if it carries one, else "" and 0."""

    payload: Any
    aggregate: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """An event as handed to a handler. `stream_sequence` is its place in the stream."""

    event: Event
    payload: Any
    aggregate: str
    version: int
    stream_sequence: int


class Handler(Protocol):
    """Takes effect inside the transaction it is given, or raises.

    It gets a batch in which no key occurs twice, and must not commit or touch anything but the
    transaction. PermanentError means that trying again is useless.
    """

    def __call__(
        self, connection: AsyncConnection, batch: Sequence[IncomingEvent], /
    ) -> Awaitable[None]: ...


Decoder = Callable[[Event], Payload]


class HandlerRegistry:
    """Event types and their handlers."""

    def __init__(self) -> None:
        self._bound: dict[str, tuple[Decoder, Handler]] = {}

    def subscribe(self, event_type: str, decode: Decoder, handler: Handler) -> None:
        """Binds a handler to an event type; `decode` raises MalformedEnvelope."""
        if event_type in self._bound:
            raise ValueError(f"{event_type} has a handler already")
        self._bound[event_type] = (decode, handler)

    @property
    def types(self) -> frozenset[str]:
        """The event types that have a handler."""
        return frozenset(self._bound)

    def decode(self, event: Event, stream_sequence: int) -> IncomingEvent:
        """Reads an event's body; raises MalformedEnvelope, also for an unknown type."""
        if event.type not in self._bound:
            raise MalformedEnvelope(f"no handler for {event.type}")
        body = self._bound[event.type][0](event)
        return IncomingEvent(event, body.payload, body.aggregate, body.version, stream_sequence)

    async def dispatch(self, connection: AsyncConnection, batch: Sequence[IncomingEvent]) -> None:
        """Hands a batch to its handlers, each key's events in their order."""
        for received in _rounds(batch):
            by_type: defaultdict[str, list[IncomingEvent]] = defaultdict(list)
            for one in received:
                by_type[one.event.type].append(one)
            traces = {one.event.key: one.event.traceparent for one in received if one.event.key}
            with in_traces(traces):
                for event_type in sorted(by_type):
                    await self._bound[event_type][1](connection, by_type[event_type])


def _rounds(batch: Sequence[IncomingEvent]) -> Iterator[list[IncomingEvent]]:
    """Splits a batch so that no round has a key twice and each key's events stay in order.

    The order is by version within an aggregate: redelivery has reordered what arrives. Keys are
    sorted, so that two replicas lock the rows of one type's events in one order. With several types
    or rounds in a batch they may still meet the other way round: the database then ends one of the
    transactions, whose batch is rolled back whole, delivered again and handled one by one.
    """
    by_key: defaultdict[str, list[IncomingEvent]] = defaultdict(list)
    for one in batch:
        # Events without a key belong to no one thing and may share a round.
        by_key[one.event.key or f"event {one.event.id}"].append(one)
    for events in by_key.values():
        events.sort(key=lambda one: (one.aggregate, one.version, one.stream_sequence))
    for round_number in range(max(map(len, by_key.values()), default=0)):
        yield [
            by_key[key][round_number] for key in sorted(by_key) if len(by_key[key]) > round_number
        ]
