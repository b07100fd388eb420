"""Brokers with faults: wrappers around the real broker that record, fail or lose at one point."""

from collections.abc import Awaitable, Callable, Sequence

from eventbus import Event
from eventbus.broker import (
    BrokerUnavailable,
    ConsumerLag,
    EventRefused,
    Message,
    Publisher,
    PullConsumer,
)


class Crash(BaseException):
    """Stands for the end of the process."""


class RecordingPublisher:
    """Records the ids it published, by batch and singly, in order."""

    def __init__(self, real: Publisher) -> None:
        self._real = real
        self.batches: list[list[str]] = []
        self.singles: list[str] = []

    async def publish(self, event: Event) -> None:
        await self._real.publish(event)
        self.singles.append(event.id)

    async def publish_batch(self, events: Sequence[Event]) -> None:
        await self._real.publish_batch(events)
        self.batches.append([event.id for event in events])


class InterruptedPublisher:
    """Publishes, then runs `interrupt` before it returns the broker's confirmation."""

    def __init__(self, real: Publisher, interrupt: Callable[[], Awaitable[None]]) -> None:
        self._real, self._interrupt = real, interrupt

    async def publish(self, event: Event) -> None:
        await self._real.publish(event)
        await self._interrupt()

    async def publish_batch(self, events: Sequence[Event]) -> None:
        await self._real.publish_batch(events)
        await self._interrupt()


class UnavailablePublisher:
    """Raises BrokerUnavailable for some event types and publishes all others."""

    def __init__(self, real: Publisher, *types: str) -> None:
        self._real, self._types = real, types

    async def publish(self, event: Event) -> None:
        if event.type in self._types:
            raise BrokerUnavailable("not now")
        await self._real.publish(event)

    async def publish_batch(self, events: Sequence[Event]) -> None:
        for event in events:
            await self.publish(event)


class RefusingPublisher:
    """Refuses the events of `refused` permanently, and publishes all others."""

    def __init__(self, real: Publisher, *refused: Event) -> None:
        self._real = real
        self.refused = {event.id for event in refused}

    async def publish(self, event: Event) -> None:
        if event.id in self.refused:
            raise EventRefused("too long")
        await self._real.publish(event)

    async def publish_batch(self, events: Sequence[Event]) -> None:
        for event in events:
            await self.publish(event)


class RecordingConsumer:
    """A pull consumer that records its answers; with `lost`, they never reach the broker."""

    def __init__(self, real: PullConsumer, *, lost: bool = False) -> None:
        self._real, self._lost = real, lost
        self.acked: list[int] = []
        self.naks: list[tuple[int, float]] = []
        self.termed: list[int] = []

    @property
    def stream(self) -> str:
        return self._real.stream

    @property
    def durable(self) -> str:
        return self._real.durable

    async def fetch(self, limit: int, wait_seconds: float) -> list[Message]:
        return await self._real.fetch(limit, wait_seconds)

    async def ack(self, *messages: Message) -> None:
        self.acked += [message.stream_sequence for message in messages]
        if not self._lost:
            await self._real.ack(*messages)

    async def nak(self, message: Message, delay_seconds: float) -> None:
        self.naks.append((message.stream_sequence, delay_seconds))
        if not self._lost:
            await self._real.nak(message, delay_seconds)

    async def term(self, message: Message, reason: str) -> None:
        self.termed.append(message.stream_sequence)
        if not self._lost:
            await self._real.term(message, reason)

    async def in_progress(self, *messages: Message) -> None:
        await self._real.in_progress(*messages)

    async def lag(self) -> ConsumerLag:
        return await self._real.lag()

    async def oldest_unhandled_age(self, lag: ConsumerLag) -> float:
        return await self._real.oldest_unhandled_age(lag)
