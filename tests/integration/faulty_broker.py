"""Brokers with a will of their own: the real one behind them, disturbed at one point."""

from collections.abc import Awaitable, Callable, Sequence

from eventbus import Event
from eventbus.broker import BrokerUnavailable, ConsumerLag, Message, Publisher, PullConsumer


class Crash(BaseException):
    """The process ends here."""


class Recorder:
    """Publishes, and inbox_retention the ids in the order they were stored, and how."""

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


class AfterPublish:
    """Publishes, and then something happens before the relay hears of it."""

    def __init__(self, real: Publisher, happens: Callable[[], Awaitable[None]]) -> None:
        self._real, self._happens = real, happens

    async def publish(self, event: Event) -> None:
        await self._real.publish(event)
        await self._happens()

    async def publish_batch(self, events: Sequence[Event]) -> None:
        await self._real.publish_batch(events)
        await self._happens()


class Unreachable:
    """Takes nothing of the types named, everything else."""

    def __init__(self, real: Publisher, *types: str) -> None:
        self._real, self._types = real, types

    async def publish(self, event: Event) -> None:
        if event.type in self._types:
            raise BrokerUnavailable("not now")
        await self._real.publish(event)

    async def publish_batch(self, events: Sequence[Event]) -> None:
        for event in events:
            await self.publish(event)


class Answers:
    """A source that notes each answer; `lost` answers never reach the broker."""

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

    async def ack(self, message: Message) -> None:
        self.acked.append(message.stream_sequence)
        if not self._lost:
            await self._real.ack(message)

    async def nak(self, message: Message, delay_seconds: float) -> None:
        self.naks.append((message.stream_sequence, delay_seconds))
        if not self._lost:
            await self._real.nak(message, delay_seconds)

    async def term(self, message: Message, reason: str) -> None:
        self.termed.append(message.stream_sequence)
        if not self._lost:
            await self._real.term(message, reason)

    async def lag(self) -> ConsumerLag:
        return await self._real.lag()

    async def oldest_unhandled_age(self, lag: ConsumerLag) -> float:
        return await self._real.oldest_unhandled_age(lag)
