"""What a binding provides for the suites, and what the suites share."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from eventbus.broker import BrokerUnavailable, Message, Publisher, PullConsumer, StreamReader
from eventbus.event import Event

_LIMIT_SECONDS = 30.0
_POLL_SECONDS = 0.02


class BrokerHarness(Protocol):
    """A broker with one stream, which is new and empty for each test."""

    @property
    def domain(self) -> str:
        """The first token of the subjects that the stream stores."""

    @property
    def publisher(self) -> Publisher:
        """Publishes to the stream."""

    @property
    def refused_size(self) -> int:
        """A size of event bodies that the broker refuses permanently."""

    async def create_consumer(
        self, durable: str, ack_wait_seconds: int = 30, filter_subjects: Sequence[str] = ()
    ) -> None:
        """Creates a durable consumer of the stream, which gets all its messages by default."""

    def pull_consumer(self, durable: str) -> PullConsumer:
        """Binds to a durable consumer of the stream; a new instance at each call."""

    def stream_reader(self) -> StreamReader:
        """Reads the stream."""

    async def delete_message(self, sequence: int) -> None:
        """Deletes a message from the stream."""

    async def stop_broker(self) -> None:
        """Makes the broker unreachable. The test's end restores it."""

    async def start_broker(self) -> None:
        """Makes it reachable again, with all that it stored; the binding reconnects by itself."""


def new_event(
    broker: BrokerHarness, key: str = "", name: str = "Happened", size: int = 10
) -> Event:
    """An event of the stream, with a body of `size` bytes."""
    return Event(
        id=f"evt_{uuid.uuid4().hex}",
        type=f"{broker.domain}.v1.{name}",
        key=key,
        data=b"x" * size,
        occurred_at=datetime.now(UTC),
        source="conformance",
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
    )


def new_events(broker: BrokerHarness, count: int) -> list[Event]:
    """Events with different keys."""
    return [new_event(broker, f"k{number}") for number in range(count)]


async def publish(broker: BrokerHarness, count: int) -> list[Event]:
    """Publishes new events one by one and returns them."""
    events = new_events(broker, count)
    for event in events:
        await broker.publisher.publish(event)
    return events


async def stored_ids(broker: BrokerHarness) -> list[str]:
    """The ids of all events in the stream, in order."""
    reader = broker.stream_reader()
    bounds = await reader.bounds()
    stored = reader.read(bounds.first, bounds.last)
    return [event_id(entry.message) async for entry in stored]


def event_id(message: Message) -> str:
    """The id of a message's event."""
    return message.headers["ce-id"]


async def fetch(consumer: PullConsumer, count: int) -> list[Message]:
    """Fetches exactly `count` messages, in as many fetches as that takes."""
    fetched: list[Message] = []

    async def complete() -> bool:
        fetched.extend(await consumer.fetch(count - len(fetched), 0.2))
        return len(fetched) == count

    await wait_until(complete)
    return fetched


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Polls a condition until it is true; raises TimeoutError.

    A condition that raises BrokerUnavailable is not true yet.
    """
    async with asyncio.timeout(_LIMIT_SECONDS):
        while True:
            try:
                if await condition():
                    return
            except BrokerUnavailable:
                pass
            await asyncio.sleep(_POLL_SECONDS)


async def wait_until_unavailable(call: Callable[[], Awaitable[object]]) -> None:
    """Repeats a call until it raises BrokerUnavailable; raises TimeoutError.

    A binding may notice after a moment that its connection is lost.
    """
    async with asyncio.timeout(_LIMIT_SECONDS):
        while True:
            try:
                await call()
            except BrokerUnavailable:
                return
            await asyncio.sleep(_POLL_SECONDS)
