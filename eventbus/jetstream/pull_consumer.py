"""A durable pull consumer of JetStream."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo
from nats.js.errors import Error as JetStreamError

from eventbus.broker import BrokerUnavailable, ConsumerLag, Message
from eventbus.jetstream.connection import Connection
from eventbus.jetstream.stream_reader import JetStreamStreamReader

_LINGER_SECONDS = 0.01


class JetStreamPullConsumer:
    """Implements `PullConsumer`. Several instances, in any processes, may share a durable."""

    def __init__(self, connection: Connection, stream: str, durable: str) -> None:
        self._connection = connection
        self.stream = stream
        self.durable = durable
        self._pull: JetStreamContext.PullSubscription | None = None
        # Messages that a fetch received beyond its limit.
        self._surplus: list[Msg] = []
        # Stream sequences of messages that were fetched here and not answered.
        self._unanswered: set[int] = set()

    async def fetch(self, limit: int, wait_seconds: float) -> list[Message]:
        """Never cancel it: the pull request would stay active and receive messages unseen."""
        await self._connection.first_client(wait_seconds)
        pull = await self._subscription()
        messages, self._surplus = self._surplus, []
        # The library waits for a full batch or the end of the time. Therefore: wait for one
        # message, then fetch what arrived with it.
        if not messages:
            messages = await self._fetch(pull, 1, wait_seconds)
        if messages and len(messages) < limit:
            messages += await self._fetch(pull, limit - len(messages), _LINGER_SECONDS)
        # The library also returns what arrived too late for an earlier request, however much.
        messages, self._surplus = messages[:limit], messages[limit:]
        return [self._delivered(message) for message in messages]

    async def _subscription(self) -> JetStreamContext.PullSubscription:
        client = self._connection.client()
        if self._pull is None:
            self._pull = await client.jetstream().pull_subscribe_bind(
                durable=self.durable, stream=self.stream
            )
        return self._pull

    async def _fetch(
        self, pull: JetStreamContext.PullSubscription, limit: int, wait_seconds: float
    ) -> list[Msg]:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self.durable}"
        return await self._connection.call(_fetch(pull, limit, wait_seconds), [subject])

    def _delivered(self, message: Msg) -> Message:
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
        await self._answer(message, b"+ACK")

    async def nak(self, message: Message, delay_seconds: float) -> None:
        delay = json.dumps({"delay": int(delay_seconds * 1e9)})
        await self._answer(message, f"-NAK {delay}".encode())

    async def term(self, message: Message, reason: str) -> None:
        await self._answer(message, f"+TERM {reason[:200]}".encode())

    async def in_progress(self, message: Message) -> None:
        if message.stream_sequence in self._unanswered:
            await self._send(message, b"+WPI")

    async def _answer(self, message: Message, answer: bytes) -> None:
        self._unanswered.discard(message.stream_sequence)
        await self._send(message, answer)

    async def _send(self, message: Message, answer: bytes) -> None:
        if not message.reply:  # read from the stream, not delivered
            return
        # A lost answer causes a redelivery, which the inbox ignores.
        with suppress(BrokerUnavailable, NatsError, OSError):
            await self._connection.client().publish(message.reply, answer)

    async def lag(self) -> ConsumerLag:
        client = self._connection.client()
        try:
            info = await self._connection.call(
                client.jetstream().consumer_info(self.stream, self.durable),
                [f"$JS.API.CONSUMER.INFO.{self.stream}.{self.durable}"],
            )
        except JetStreamError as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        # Another replica may have answered those; without this, the set would only grow.
        self._unanswered = {sequence for sequence in self._unanswered if sequence > floor}
        config = info.config
        filters = config.filter_subjects or [config.filter_subject or ">"]
        return ConsumerLag(
            pending=info.num_pending or 0,
            unacknowledged=info.num_ack_pending or 0,
            ack_floor=floor,
            filters=tuple(filters),
            paused_until=_paused_until(info),
        )

    async def oldest_unhandled_age(self, lag: ConsumerLag) -> float:
        if not lag.pending and not lag.unacknowledged:
            return 0.0
        reader = JetStreamStreamReader(self._connection, self.stream)
        # All messages up to the floor are answered; the next one is not.
        oldest = await asyncio.gather(
            *(reader.first_on(subjects, lag.ack_floor + 1) for subjects in lag.filters)
        )
        now = datetime.now(UTC)
        stored_at = min((stored.stored_at for stored in oldest if stored), default=now)
        return max(0.0, (now - stored_at).total_seconds())


def _paused_until(info: ConsumerInfo) -> datetime | None:
    """The end of a pause; of a past one the configuration still states the time."""
    if not info.paused or not info.config.pause_until:
        return None
    return datetime.fromisoformat(info.config.pause_until).astimezone(UTC)


async def _fetch(
    pull: JetStreamContext.PullSubscription, limit: int, wait_seconds: float
) -> list[Msg]:
    try:
        return await pull.fetch(limit, timeout=wait_seconds)
    except TimeoutError:
        return []
    except JetStreamError as error:
        raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
