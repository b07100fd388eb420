"""Reading a stream past its consumers, message by message, with the rights that a service has.

STREAM.MSG.GET alone is needed: no consumer is created, nothing is delivered. Requests are sent many
at a time, so that a hundred thousand messages take seconds.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from eventbus.broker import BrokerUnavailable, Message, StoredMessage, StreamBounds

if TYPE_CHECKING:
    from eventbus.jetstream.connection import JetStream

_AT_ONCE = 50
_SECONDS = 10.0
_EPOCH, _END_OF_TIME = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
NOT_FOUND = 10037


class JetStreamStreamReader:
    """One stream's messages; see `eventbus.broker.StreamReader`."""

    def __init__(self, jetstream: "JetStream", stream: str) -> None:
        self._jetstream, self._stream = jetstream, stream
        self._subject = f"$JS.API.STREAM.MSG.GET.{stream}"

    async def bounds(self) -> StreamBounds:
        """See `StreamReader`."""
        asked = self._jetstream.client().jetstream().stream_info(self._stream)
        try:
            info = await self._jetstream.call(asked, [f"$JS.API.STREAM.INFO.{self._stream}"])
        except JetStreamError as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
        state = info.state
        return StreamBounds(state.first_seq, state.last_seq, info.config.max_age or 0.0)

    async def first_since(self, moment: datetime) -> int:
        """See `StreamReader`."""
        # The server counts nanoseconds since 1970 in 64 bits.
        if moment >= _END_OF_TIME:
            return 0
        start = max(moment, _EPOCH).astimezone(UTC).isoformat()
        found = await self._next(start_time=start, next_by_subj=">")
        return found.message.stream_sequence if found else 0

    async def read(self, first: int, last: int) -> AsyncIterator[StoredMessage]:
        """See `StreamReader`."""
        for start in range(max(first, 1), last + 1, _AT_ONCE):
            end = min(start + _AT_ONCE, last + 1)
            replies = await self._jetstream.call(self._ask(start, end), [self._subject])
            for sequence in range(start, end):
                if stored := await self._stored(replies[sequence]):
                    yield stored

    async def search(self, subjects: str) -> AsyncIterator[StoredMessage]:
        """All messages on subjects, which may have wildcards, in order; one request for each."""
        sequence = 1
        while found := await self.first_on(subjects, sequence):
            yield found
            sequence = found.message.stream_sequence + 1

    async def first_on(self, subjects: str, sequence: int) -> StoredMessage | None:
        """The first message on subjects from a sequence on; raises BrokerUnavailable."""
        return await self._next(seq=sequence, next_by_subj=subjects)

    async def has(self, sequence: int) -> bool:
        """Whether the message of a sequence is still there; raises BrokerUnavailable."""
        return await self._next(seq=sequence) is not None

    async def _next(self, **wanted: object) -> StoredMessage | None:
        client = self._jetstream.client()
        request = client.request(self._subject, json.dumps(wanted).encode(), timeout=_SECONDS)
        reply = await self._jetstream.call(request, [self._subject])
        return await self._stored(reply.data)

    async def _ask(self, start: int, end: int) -> dict[int, bytes]:
        """Asks for a run of sequences at once and waits for all replies, which come in any order.

        Raises TimeoutError.
        """
        client, replies = self._jetstream.client(), dict[int, bytes]()
        complete = asyncio.Event()

        async def take(reply: Msg) -> None:
            replies[int(reply.subject.rpartition(".")[2])] = reply.data
            if len(replies) == end - start:
                complete.set()

        inbox = client.new_inbox()
        subscription = await client.subscribe(f"{inbox}.*", cb=take)
        try:
            for sequence in range(start, end):
                body = b'{"seq":%d}' % sequence
                await client.publish(self._subject, body, reply=f"{inbox}.{sequence}")
            await asyncio.wait_for(complete.wait(), _SECONDS)
        finally:
            await _forget(subscription)
        return replies

    async def _stored(self, reply: bytes) -> StoredMessage | None:
        """The message in a reply; None if there is none. Raises BrokerUnavailable."""
        answer = json.loads(reply)
        if error := answer.get("error"):
            if error.get("err_code") == NOT_FOUND:
                return None
            raise BrokerUnavailable(f"{error.get('description')} ({error.get('err_code')})")
        found: dict[str, Any] = answer["message"]
        headers = await self._jetstream.headers_of(base64.b64decode(found.get("hdrs", "")))
        message = Message(
            subject=found["subject"],
            headers=headers,
            data=base64.b64decode(found.get("data", "")),
            stream=self._stream,
            stream_sequence=found["seq"],
            delivery_count=1,
            reply="",
        )
        return StoredMessage(message, datetime.fromisoformat(found["time"]))


async def _forget(subscription: Any) -> None:
    try:
        await subscription.unsubscribe()
    except NatsError:  # the connection is gone, and the subscription with it
        return
