"""What the bus needs of a broker, as protocols and errors. `eventbus.jetstream` implements them.

`eventbus.conformance` tests an implementation.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from eventbus.event import Event


class BrokerUnavailable(Exception):
    """The broker cannot be reached, did not answer, or cannot store now: retry later."""


class BatchRefused(Exception):
    """The broker refused an atomic batch and stored nothing of it."""


class EventRefused(Exception):
    """The broker refuses this event permanently."""


class Publisher(Protocol):
    """Stores events durably, or raises."""

    async def publish(self, event: Event) -> None:
        """Stores one event; if its id is stored already, does nothing.

        Raises BrokerUnavailable, after which the event may have been stored, or EventRefused.
        """

    async def publish_batch(self, events: Sequence[Event]) -> None:
        """Stores all events in order, or none of them.

        Raises BrokerUnavailable, BatchRefused or EventRefused. A batch with an id that is stored
        already is refused.
        """


class RelaySignal(Protocol):
    """Tells the relays of the same service in other processes that the outbox has events.

    A signal may get lost: it only spares them the rest of a pause.
    """

    async def send(self) -> None:
        """Sends a signal; does nothing while the broker is unavailable."""

    def on_receive(self, receive: Callable[[], None]) -> None:
        """Calls `receive` for each signal, also for those that this process sends."""


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery of a message. `delivery_count` is 1 on the first delivery.

    `reply` is the broker's address for answers; "" if the message was not delivered but read.
    """

    subject: str
    headers: dict[str, str]
    data: bytes
    stream: str
    stream_sequence: int
    delivery_count: int
    reply: str


@dataclass(frozen=True, slots=True)
class ConsumerLag:
    """How far a durable consumer is behind.

    `pending` messages are not delivered yet, `unacknowledged` ones are delivered and not answered.
    All messages up to the stream sequence `ack_floor` are answered. `filters` are the subjects that
    the consumer gets, with wildcards as in NATS; none means all. Until `paused_until`, UTC-aware,
    the broker delivers nothing; None if it is not paused.
    """

    pending: int
    unacknowledged: int
    ack_floor: int
    filters: tuple[str, ...] = ()
    paused_until: datetime | None = None


class PullConsumer(Protocol):
    """A durable consumer: delivers each message until it is acknowledged or terminated.

    Answers (`ack`, `nak`, `term`, `in_progress`) never raise and may get lost: the message is then
    delivered again.
    """

    @property
    def stream(self) -> str:
        """The stream's name."""

    @property
    def durable(self) -> str:
        """The durable consumer's name."""

    async def fetch(self, limit: int, wait_seconds: float) -> list[Message]:
        """Up to `limit` messages, as soon as there is one; none if none arrived in time.

        Raises BrokerUnavailable.
        """

    async def ack(self, *messages: Message) -> None:
        """Acknowledges messages: they are not delivered again."""

    async def nak(self, message: Message, delay_seconds: float) -> None:
        """Requests redelivery after a delay."""

    async def term(self, message: Message, reason: str) -> None:
        """Terminates a message: it is not delivered again."""

    async def in_progress(self, *messages: Message) -> None:
        """Restarts the time in which messages must be answered; not after another answer."""

    async def lag(self) -> ConsumerLag:
        """How far it is behind; raises BrokerUnavailable, also if the consumer does not exist."""

    async def oldest_unhandled_age(self, lag: ConsumerLag) -> float:
        """Seconds since the oldest unanswered message was stored; 0 if `lag` counts none.

        It may be delivered or not, and to any replica. Raises BrokerUnavailable.
        """


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it is stored in its stream. It was not delivered: its `reply` is empty."""

    message: Message
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class StreamBounds:
    """The first and the last sequence of a stream, and the age up to which it keeps messages.

    `first` is above `last` if the stream is empty; `max_age_seconds` is 0 if messages are kept for
    ever.
    """

    first: int
    last: int
    max_age_seconds: float


class StreamReader(Protocol):
    """Reads a stream without a consumer: it neither delivers nor acknowledges messages."""

    async def bounds(self) -> StreamBounds:
        """The stream's current bounds; raises BrokerUnavailable."""

    async def first_since(self, moment: datetime) -> int:
        """The sequence of the first message stored at or after a moment, 0 if there is none.

        Raises BrokerUnavailable.
        """

    def read(self, first: int, last: int) -> AsyncIterator[StoredMessage]:
        """The messages between two sequences, both included, in order; deleted ones are skipped.

        Raises BrokerUnavailable.
        """
