"""What the bus needs of a broker, and the ways a broker says no. `eventbus.jetstream` is one."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from eventbus.event import Event


class BrokerUnavailable(Exception):
    """The broker can't be reached, didn't answer, or can't store now: try again later."""


class BatchRefused(Exception):
    """The broker refused an atomic batch; nothing of it was stored."""


class EventRefused(Exception):
    """The broker will never take this event."""


class Publisher(Protocol):
    """Stores events durably, or raises."""

    async def publish(self, event: Event) -> None:
        """Stores one event; one stored before under the same id counts as stored.

        Raises BrokerUnavailable or EventRefused.
        """

    async def publish_batch(self, events: Sequence[Event]) -> None:
        """Stores all events or none; raises BrokerUnavailable or BatchRefused."""


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery of a message. `delivery_count` is 1 on the first."""

    subject: str
    headers: dict[str, str]
    data: bytes
    stream: str
    stream_sequence: int
    delivery_count: int
    reply: str


@dataclass(frozen=True, slots=True)
class ConsumerLag:
    """How far a durable consumer is behind. `ack_floor` is a stream sequence.

    `filters` are the subjects that it gets, with the broker's wildcards; none means all.
    """

    pending: int
    unacknowledged: int
    ack_floor: int
    filters: tuple[str, ...] = ()


class PullConsumer(Protocol):
    """A durable consumer: hands out messages until each is acknowledged or terminated."""

    @property
    def stream(self) -> str:
        """The stream's name."""

    @property
    def durable(self) -> str:
        """The durable consumer's name."""

    async def fetch(self, limit: int, wait_seconds: float) -> list[Message]:
        """Up to `limit` messages, none if none came in time; raises BrokerUnavailable."""

    async def ack(self, message: Message) -> None:
        """Marks a message as done. May get lost: the message is then delivered again."""

    async def nak(self, message: Message, delay_seconds: float) -> None:
        """Asks for redelivery after a delay."""

    async def term(self, message: Message, reason: str) -> None:
        """Marks a message as given up."""

    async def in_progress(self, message: Message) -> None:
        """Says that a message is still being handled: its time for an answer begins again."""

    async def lag(self) -> ConsumerLag:
        """How far behind it is; raises BrokerUnavailable."""

    async def oldest_unhandled_age(self, lag: ConsumerLag) -> float:
        """Seconds since the oldest message was stored that waits for its acknowledgement.

        Delivered or not, to whichever replica; 0 if the lag says that there is none. Raises
        BrokerUnavailable.
        """


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it lies in its stream. Nobody delivered it: its `reply` is empty."""

    message: Message
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class StreamBounds:
    """What a stream holds: from the first sequence to the last, and nothing above `max_age`.

    `first` is above `last` if it is empty; `max_age_seconds` is 0 if messages stay for ever.
    """

    first: int
    last: int
    max_age_seconds: float


class StreamReader(Protocol):
    """Reads a stream past every consumer; nothing is delivered or acknowledged by it."""

    async def bounds(self) -> StreamBounds:
        """What the stream holds now; raises BrokerUnavailable."""

    async def first_since(self, moment: datetime) -> int:
        """Sequence of the first message stored at or after a moment, 0 if there is none.

        Raises BrokerUnavailable.
        """

    def read(self, first: int, last: int) -> AsyncIterator[StoredMessage]:
        """The messages between two sequences, both included, in order.

        Raises BrokerUnavailable.
        """
