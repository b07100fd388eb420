"""Publishing to JetStream.

Guarantees: a publish that returns has been stored on disk by the server (streams are file-backed,
and the server syncs after each write). One that raises BrokerUnavailable may have been stored: its
id makes the retry harmless. An event that was stored and then lost is stored again, also while the
server still has its id in the duplicate window.
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from nats.aio.msg import Msg
from nats.errors import MaxPayloadError

from eventbus.broker import BatchRefused, BrokerUnavailable, EventRefused
from eventbus.event import ID_HEADER, Event
from eventbus.jetstream.client import publish_command
from eventbus.jetstream.connection import Connection
from eventbus.jetstream.stream_reader import JetStreamStreamReader

# An event that waits for a start of this process waits for the connection too.
_START_SECONDS = 1.0
_PERMANENT_ERRORS = frozenset({10054})  # message size exceeds maximum allowed


class JetStreamPublisher:
    """Stores events in the streams of their subjects; implements `Publisher`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def publish(self, event: Event) -> None:
        reply = await self._publish(event, event.id)
        # The server also has the ids of messages that were deleted or purged since: it does not
        # store such an event. Another message id makes it; consumers go by `ce-id`.
        while reply.get("duplicate") and not await self._is_stored(reply["stream"], reply["seq"]):
            reply = await self._publish(event, f"{event.id}.{reply['seq']}")

    async def _is_stored(self, stream: str, sequence: int) -> bool:
        return await JetStreamStreamReader(self._connection, stream).has(sequence)

    async def _publish(self, event: Event, message_id: str) -> dict[str, Any]:
        client = await self._connection.first_client(_START_SECONDS)
        request = client.request(
            event.subject,
            event.data,
            timeout=self._connection.request_seconds,
            headers=event.headers() | {ID_HEADER: message_id},
        )
        message = await self._connection.call(request, [event.subject])
        reply: dict[str, Any] = json.loads(message.data)
        if (error := reply.get("error")) is None:
            return reply
        text = f"{error.get('description')} ({error.get('err_code')})"
        if error.get("err_code") in _PERMANENT_ERRORS:
            raise EventRefused(text)
        raise BrokerUnavailable(text)

    async def publish_batch(self, events: Sequence[Event]) -> None:
        subjects = {event.subject for event in events}
        message = await self._connection.call(self._send_batch(events), subjects)
        if error := json.loads(message.data).get("error"):
            raise BatchRefused(f"{error.get('description')} ({error.get('err_code')})")

    async def _send_batch(self, events: Sequence[Event]) -> Msg:
        client = await self._connection.first_client(_START_SECONDS)
        batch_id, last = uuid.uuid4().hex, events[-1]
        if max(len(event.data) for event in events) > client.max_payload:
            raise MaxPayloadError
        commands = [
            publish_command(event.subject, event.data, _batch_headers(event, batch_id, sequence))
            for sequence, event in enumerate(events[:-1], start=1)
        ]
        await client.send_commands(commands)
        headers = _batch_headers(last, batch_id, len(events)) | {"Nats-Batch-Commit": "1"}
        timeout = self._connection.request_seconds
        return await client.request(last.subject, last.data, timeout=timeout, headers=headers)


def _batch_headers(event: Event, batch_id: str, sequence: int) -> dict[str, str]:
    return event.headers() | {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(sequence)}
