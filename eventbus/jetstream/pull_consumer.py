"""A durable pull consumer of JetStream."""

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerInfo
from nats.js.errors import Error as JetStreamError

from eventbus.broker import BrokerUnavailable, ConsumerLag, Message
from eventbus.jetstream.client import publish_command
from eventbus.jetstream.connection import Connection
from eventbus.jetstream.stream_reader import JetStreamStreamReader

# Statuses that end a pull request in the normal way: no messages, time-out, a change at the broker.
_ENDED = frozenset({"404", "408", "409"})


@dataclass
class _PullRequest:
    """A pull request under way: `ended` is set once `missing` messages have arrived, or earlier."""

    reply: str
    missing: int
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    error: str = ""


class JetStreamPullConsumer:
    """Implements `PullConsumer`. Several instances, in any processes, may share a durable."""

    def __init__(self, connection: Connection, stream: str, durable: str) -> None:
        self._connection = connection
        self.stream = stream
        self.durable = durable
        # Where the broker delivers messages and statuses of pull requests, once it is subscribed.
        self._inbox = ""
        self._request: _PullRequest | None = None
        self._request_count = 0
        # Messages that no fetch has returned yet.
        self._arrived: deque[Msg] = deque()
        # Stream sequences of messages that were fetched here and not answered.
        self._unanswered: set[int] = set()

    async def fetch(self, limit: int, wait_seconds: float) -> list[Message]:
        """Returns what is there, or else the next message as soon as it arrives.

        Never cancel it: the pull request would stay active and receive messages unseen.
        """
        await self._subscribe(wait_seconds)
        if not self._arrived:
            await self._pull({"batch": limit, "no_wait": True}, wait_seconds)
        if not self._arrived:
            expires = max(1, int(wait_seconds * 1e9))
            await self._pull({"batch": 1, "expires": expires}, wait_seconds)
        # What arrived too late for an earlier request may exceed the limit.
        count = min(limit, len(self._arrived))
        return [self._delivered(self._arrived.popleft()) for _ in range(count)]

    async def _subscribe(self, wait_seconds: float) -> None:
        client = await self._connection.first_client(wait_seconds)
        if not self._inbox:
            inbox = client.new_inbox()
            await client.subscribe(f"{inbox}.*", cb=self._receive)
            self._inbox = inbox

    async def _pull(self, body: dict[str, Any], wait_seconds: float) -> None:
        """Requests messages; waits until they have arrived or the broker has ended the request."""
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self.durable}"
        client = self._connection.client()
        # Each has an own reply subject: the end of an earlier one is not taken for that of this.
        self._request_count += 1
        request = _PullRequest(f"{self._inbox}.{self._request_count}", body["batch"])
        self._request = request

        async def reply() -> None:
            await client.publish(subject, json.dumps(body).encode(), request.reply)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await request.ended.wait()

        try:
            await self._connection.call(reply(), [subject])
        finally:
            self._request = None
        if request.error:
            raise BrokerUnavailable(request.error)

    async def _receive(self, message: Msg) -> None:
        request = self._request
        if message.reply.startswith("$JS.ACK."):
            self._arrived.append(message)
            if request:
                request.missing -= 1
                if not request.missing:
                    request.ended.set()
        elif request and message.subject == request.reply:
            headers = message.headers or {}
            if (status := headers.get("Status", "")) not in _ENDED:
                request.error = f"status {status} {headers.get('Description', '')}".rstrip()
            request.ended.set()

    def _delivered(self, message: Msg) -> Message:
        # $JS.ACK.<stream>.<durable>.<deliveries>.<stream sequence>. …, or with the domain and the
        # account in front of the stream.
        tokens = message.reply.split(".")
        deliveries, sequence = tokens[4:6] if len(tokens) == 9 else tokens[6:8]  # noqa: PLR2004
        self._unanswered.add(int(sequence))
        return Message(
            subject=message.subject,
            headers=message.headers or {},
            data=message.data,
            stream=self.stream,
            stream_sequence=int(sequence),
            delivery_count=int(deliveries),
            reply=message.reply,
        )

    async def ack(self, *messages: Message) -> None:
        await self._answer(messages, b"+ACK")

    async def nak(self, message: Message, delay_seconds: float) -> None:
        delay = json.dumps({"delay": int(delay_seconds * 1e9)})
        await self._answer([message], f"-NAK {delay}".encode())

    async def term(self, message: Message, reason: str) -> None:
        await self._answer([message], f"+TERM {reason[:200]}".encode())

    async def in_progress(self, *messages: Message) -> None:
        open_ones = [one for one in messages if one.stream_sequence in self._unanswered]
        await self._send(open_ones, b"+WPI")

    async def _answer(self, messages: Sequence[Message], answer: bytes) -> None:
        self._unanswered.difference_update(message.stream_sequence for message in messages)
        await self._send(messages, answer)

    async def _send(self, messages: Sequence[Message], answer: bytes) -> None:
        # One that was read from the stream, and not delivered, has no address for answers.
        commands = [publish_command(one.reply, answer) for one in messages if one.reply]
        # A lost answer causes a redelivery, which the inbox ignores.
        with suppress(BrokerUnavailable, NatsError, OSError):
            await self._connection.client().send_commands(commands)

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
