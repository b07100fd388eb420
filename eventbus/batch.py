"""A batch of deliveries: decoded, and in progress until it is handled."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from eventbus.ack_policy import DeadLetterIt, unreadable
from eventbus.broker import Message, PullConsumer
from eventbus.event import parse
from eventbus.handlers import HandlerRegistry, IncomingEvent

Delivery = tuple[Message, IncomingEvent]


class InProgress:
    """Signals progress for messages, however long they wait and however slow the database is.

    Otherwise the broker would deliver them to another replica too, which would take the unfinished
    attempt for a crash.
    """

    def __init__(
        self, pull_consumer: PullConsumer, messages: Sequence[Message], seconds: float
    ) -> None:
        self._pull_consumer, self._messages, self._seconds = pull_consumer, messages, seconds
        self._task = asyncio.create_task(self._signal()) if messages else None

    def end(self) -> None:
        """Ends the signals: the messages are answered, or left to another replica."""
        if self._task:
            self._task.cancel()

    async def _signal(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self._pull_consumer.in_progress(*self._messages)


@dataclass
class Batch:
    """What was fetched together, by what happens to it."""

    progress: InProgress
    first_deliveries: list[Delivery] = field(default_factory=list)
    redelivered: list[Delivery] = field(default_factory=list)
    unreadable: list[tuple[Message, DeadLetterIt]] = field(default_factory=list)


def decode(messages: Sequence[Message], handlers: HandlerRegistry, progress: InProgress) -> Batch:
    """Sorts deliveries into a batch."""
    batch = Batch(progress)
    for message in messages:
        try:
            event = parse(message.subject, message.headers, message.data)
            incoming = handlers.decode(event, message.stream_sequence)
        except Exception as error:  # noqa: BLE001  also a decoder's defect affects one message
            batch.unreadable.append((message, unreadable(error)))
            continue
        group = batch.first_deliveries if message.delivery_count == 1 else batch.redelivered
        group.append((message, incoming))
    return batch
