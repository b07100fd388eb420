"""A durable pull consumer of JetStream."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import Error as JetStreamError

from eventbus.broker import BrokerUnavailable, ConsumerLag, Message

if TYPE_CHECKING:
    from eventbus.jetstream.connection import JetStream

_LINGER_SECONDS = 0.01


class JetStreamPullConsumer:
    """A durable pull consumer; see `eventbus.broker.PullConsumer`."""

    def __init__(self, jetstream: "JetStream", stream: str, durable: str) -> None:
        self._jetstream = jetstream
        self.stream = stream
        self.durable = durable
        self._pull: JetStreamContext.PullSubscription | None = None
        # Stream sequences of what is in our hands.
        self._unanswered: set[int] = set()

    async def fetch(self, limit: int, wait_seconds: float) -> list[Message]:
        """See `PullConsumer`. Never cancel it: the pull would live on and take messages with it."""
        pull = await self._subscription()
        # The client waits for a full batch or the end of the time. So: wait for one message, then
        # take those that came with it.
        messages = await self._fetch(pull, 1, wait_seconds)
        if messages and limit > 1:
            messages += await self._fetch(pull, limit - 1, _LINGER_SECONDS)
        return [self._received(message) for message in messages]

    async def _subscription(self) -> JetStreamContext.PullSubscription:
        client = self._jetstream.client()
        if self._pull is None:
            self._pull = await client.jetstream().pull_subscribe_bind(
                durable=self.durable, stream=self.stream
            )
        return self._pull

    async def _fetch(
        self, pull: JetStreamContext.PullSubscription, limit: int, wait_seconds: float
    ) -> list[Msg]:
        next_subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self.durable}"
        return await self._jetstream.call(_fetched(pull, limit, wait_seconds), [next_subject])

    def _received(self, message: Msg) -> Message:
        metadata = message.metadata
        self._unanswered.add(metadata.sequence.stream)
        return Message(
            subject=message.subject,
            headers=dict(message.headers or {}),
            data=message.data,
            stream=metadata.stream,
            stream_sequence=metadata.sequence.stream,
            delivery_count=metadata.num_delivered or 1,
            reply=message.reply,
        )

    async def ack(self, message: Message) -> None:
        """See `PullConsumer`."""
        await self._answer(message, b"+ACK")

    async def nak(self, message: Message, delay_seconds: float) -> None:
        """See `PullConsumer`."""
        delay = json.dumps({"delay": int(delay_seconds * 1e9)})
        await self._answer(message, f"-NAK {delay}".encode())

    async def term(self, message: Message, reason: str) -> None:
        """See `PullConsumer`."""
        await self._answer(message, f"+TERM {reason[:200]}".encode())

    async def in_progress(self, message: Message) -> None:
        """See `PullConsumer`. A message that was answered is left alone."""
        if message.stream_sequence in self._unanswered:
            await self._send(message, b"+WPI")

    async def _answer(self, message: Message, verdict: bytes) -> None:
        self._unanswered.discard(message.stream_sequence)
        await self._send(message, verdict)

    async def _send(self, message: Message, verdict: bytes) -> None:
        if not message.reply:  # read from the stream, not delivered: nobody waits for an answer
            return
        # A lost answer means redelivery, which the inbox absorbs: not worth an error.
        with suppress(BrokerUnavailable, NatsError, OSError):
            await self._jetstream.client().publish(message.reply, verdict)

    async def lag(self) -> ConsumerLag:
        """See `PullConsumer`."""
        client = self._jetstream.client()
        try:
            info = await self._jetstream.call(
                client.jetstream().consumer_info(self.stream, self.durable),
                [f"$JS.API.CONSUMER.INFO.{self.stream}.{self.durable}"],
            )
        except JetStreamError as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        # What we never answered another replica did.
        self._unanswered = {sequence for sequence in self._unanswered if sequence > floor}
        config = info.config
        filters = config.filter_subjects or [config.filter_subject or ">"]
        return ConsumerLag(info.num_pending or 0, info.num_ack_pending or 0, floor, tuple(filters))

    async def oldest_unhandled_age(self, lag: ConsumerLag) -> float:
        """See `PullConsumer`. All below the floor is acknowledged, the next one is not."""
        if not lag.pending and not lag.unacknowledged:
            return 0.0
        reader = self._jetstream.reader(self.stream)
        first = [reader.first_on(subjects, lag.ack_floor + 1) for subjects in lag.filters]
        stored = [found.stored_at for found in await asyncio.gather(*first) if found]
        now = datetime.now(UTC)
        return max(0.0, (now - min(stored, default=now)).total_seconds())


async def _fetched(
    pull: JetStreamContext.PullSubscription, limit: int, wait_seconds: float
) -> list[Msg]:
    try:
        return await pull.fetch(limit, timeout=wait_seconds)
    except TimeoutError:
        return []
    except JetStreamError as error:
        raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
