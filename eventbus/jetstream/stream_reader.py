"""Reads a stream message by message, without a consumer, with the permissions of a service.

It needs STREAM.MSG.GET and STREAM.INFO alone. Requests are sent in groups, so that a hundred
thousand messages take seconds.
"""

import asyncio
import json
from binascii import a2b_base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from eventbus.broker import BrokerUnavailable, Message, StoredMessage, StreamBounds
from eventbus.jetstream.connection import Connection

_CONCURRENT_REQUESTS = 50
_REQUEST_SECONDS = 10.0
# Between two groups, for the calls that the process serves meanwhile: about as long as a group
# takes it.
_PAUSE_SECONDS = 0.002
# The server counts nanoseconds since 1970 in 64 bits.
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
_MESSAGE_NOT_FOUND = 10037


class JetStreamStreamReader:
    """Reads one stream; implements `StreamReader`."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection, self._stream = connection, stream
        self._subject = f"$JS.API.STREAM.MSG.GET.{stream}"

    async def bounds(self) -> StreamBounds:
        request = self._connection.client().jetstream().stream_info(self._stream)
        try:
            info = await self._connection.call(request, [f"$JS.API.STREAM.INFO.{self._stream}"])
        except JetStreamError as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
        # The first sequence of a stream that never stored a message is 0.
        first = max(info.state.first_seq, 1)
        return StreamBounds(first, info.state.last_seq, info.config.max_age or 0.0)

    async def first_since(self, moment: datetime) -> int:
        if moment >= _LATEST:
            return 0
        start = max(moment, _EARLIEST).astimezone(UTC).isoformat()
        stored = await self._get(start_time=start, next_by_subj=">")
        return stored.message.stream_sequence if stored else 0

    async def read(self, first: int, last: int) -> AsyncIterator[StoredMessage]:
        for start in range(max(first, 1), last + 1, _CONCURRENT_REQUESTS):
            end = min(start + _CONCURRENT_REQUESTS, last + 1)
            replies = await self._connection.call(self._get_range(start, end), [self._subject])
            for sequence in range(start, end):
                if stored := await self._stored(replies[sequence]):
                    yield stored
            if end <= last:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def search(self, subjects: str) -> AsyncIterator[StoredMessage]:
        """All messages on subjects, with wildcards, in order; one request for each message."""
        sequence = 1
        while stored := await self.first_on(subjects, sequence):
            yield stored
            sequence = stored.message.stream_sequence + 1

    async def first_on(self, subjects: str, sequence: int) -> StoredMessage | None:
        """The first message on subjects from a sequence on; raises BrokerUnavailable."""
        return await self._get(seq=sequence, next_by_subj=subjects)

    async def has(self, sequence: int) -> bool:
        """Whether the message of a sequence is still stored; raises BrokerUnavailable."""
        return await self._get(seq=sequence) is not None

    async def _get(self, **query: object) -> StoredMessage | None:
        client = self._connection.client()
        body = json.dumps(query).encode()
        request = client.request(self._subject, body, timeout=_REQUEST_SECONDS)
        reply = await self._connection.call(request, [self._subject])
        return await self._stored(reply.data)

    async def _get_range(self, start: int, end: int) -> dict[int, bytes]:
        """Requests sequences concurrently; the replies by sequence. Raises TimeoutError."""
        client, replies = self._connection.client(), dict[int, bytes]()
        complete = asyncio.Event()

        async def receive(reply: Msg) -> None:
            replies[int(reply.subject.rpartition(".")[2])] = reply.data
            if len(replies) == end - start:
                complete.set()

        inbox = client.new_inbox()
        subscription = await client.subscribe(f"{inbox}.*", cb=receive)
        try:
            for sequence in range(start, end):
                body = b'{"seq":%d}' % sequence
                await client.publish(self._subject, body, reply=f"{inbox}.{sequence}")
            await asyncio.wait_for(complete.wait(), _REQUEST_SECONDS)
        finally:
            await _unsubscribe(subscription)
        return replies

    async def _stored(self, reply: bytes) -> StoredMessage | None:
        """The message in a reply, None if there is none; raises BrokerUnavailable."""
        content = json.loads(reply)
        if error := content.get("error"):
            if error.get("err_code") == _MESSAGE_NOT_FOUND:
                return None
            raise BrokerUnavailable(f"{error.get('description')} ({error.get('err_code')})")
        stored: dict[str, Any] = content["message"]
        message = Message(
            subject=stored["subject"],
            headers=await self._connection.headers_of(a2b_base64(stored.get("hdrs", ""))),
            data=a2b_base64(stored.get("data", "")),
            stream=self._stream,
            stream_sequence=stored["seq"],
            delivery_count=1,
            reply="",
        )
        return StoredMessage(message, datetime.fromisoformat(stored["time"]))


async def _unsubscribe(subscription: Any) -> None:
    try:
        await subscription.unsubscribe()
    except NatsError:  # the subscription ended with the connection
        return
