"""The connection to JetStream, and publishing over it.

Guarantees: a `publish` or `publish_batch` that returns has been stored on disk by the server
(streams are file-backed, the server syncs always). One that raises BrokerUnavailable may have been
stored all the same: its id makes the repeat harmless. An event that was stored and then lost is
stored again, also while the broker still remembers its id.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Collection, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.protocol.parser import PERMISSIONS_ERR

from eventbus.broker import BatchRefused, BrokerUnavailable, EventRefused
from eventbus.event import ID_HEADER, Event
from eventbus.jetstream.address import without_credentials
from eventbus.jetstream.pull_consumer import JetStreamPullConsumer
from eventbus.jetstream.stream_reader import JetStreamStreamReader

_REFUSED_FOR_GOOD = frozenset({10054})  # message size exceeds maximum allowed
_log = structlog.get_logger(__name__)
T = TypeVar("T")


class ReconnectingClient(Client):
    """Hands on what would end the library's read loop or be taken for the server's own word.

    The bus finds out by itself that such a message is no event. And whatever error the server
    tells, this client connects again: the library's own would close for good at most of them, even
    at those that pass, such as a password that is being changed or too many connections.
    """

    lost_by: Exception | None = None

    async def _process_err(self, err_msg: str) -> None:
        if PERMISSIONS_ERR in err_msg:  # of one request; the connection stays
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(NatsError(f"the server says {err_msg}"))

    async def _process_op_err(self, e: Exception) -> None:
        if self.is_connected:
            self.lost_by = e
        await super()._process_op_err(e)

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except Exception as error:
            if self._transport:  # the library forgets it, open as it is
                self._transport.close()  # type: ignore[no-untyped-call]
            if isinstance(error, NatsError | OSError | TimeoutError):
                raise
            # For the library it would be a reason to try no more.
            raise NatsError(f"what answers is no NATS server: {error!r}") from error

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        if reply.startswith(b"$JS.ACK"):
            headers = _without_status(headers)
        readable = subject.decode("utf-8", "replace").encode()
        message: Msg = super()._build_message(sid, readable, reply, data, headers)
        return message

    async def headers_of(self, raw: bytes) -> dict[str, str]:
        """Headers read from a stored message as they are read from a delivered one."""
        return _without_status(await self._process_headers(raw)) or {}


def _without_status(headers: dict[str, str] | None) -> dict[str, str] | None:
    if not headers:
        return headers
    return {f"X-{name}" if name == "Status" else name: headers[name] for name in headers}


class JetStream:
    """One connection, kept up: reconnects by itself for ever, also if never connected before."""

    def __init__(
        self, url: str, user: str, password: str, name: str, inbox_prefix: str = ""
    ) -> None:
        """`inbox_prefix` is `_INBOX_` and the user's name, unless it is given."""
        self._inbox_prefix = inbox_prefix or f"_INBOX_{user}"
        self._url, self._user, self._password, self._name = url, user, password, name
        self._place = without_credentials(url)
        self._client = ReconnectingClient()
        self._connecting: asyncio.Task[None] | None = None
        self._timeout = 5.0
        self._watchers: set[tuple[frozenset[str], asyncio.Future[str]]] = set()

    @property
    def connected(self) -> bool:
        """True while the broker can be reached."""
        return self._client.is_connected

    @property
    def inbox_prefix(self) -> str:
        """Where replies to this user go; its permissions name the same."""
        return self._inbox_prefix

    def open(self) -> None:
        """Starts to connect and returns at once; calls fail with BrokerUnavailable until it has."""
        self._connecting = asyncio.create_task(self._connect(), name="nats-connect")
        self._connecting.add_done_callback(self._tell_if_never)

    async def wait_connected(self, seconds: float) -> None:
        """Waits for the first connection; raises BrokerUnavailable."""
        if self._connecting is None:
            raise BrokerUnavailable("not opened")
        done, _ = await asyncio.wait({self._connecting}, timeout=seconds)
        if not done:
            raise BrokerUnavailable(f"no broker at {self._place} for {seconds} s")
        if error := self._connecting.exception():
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Flushes what was sent, acknowledgements among it, and disconnects."""
        if self._connecting is None:  # never opened: the client can't be closed
            return
        if not self._connecting.done():
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        elif not self._connecting.cancelled() and self._connecting.exception():
            # Nothing was ever opened, and the client couldn't close it.
            return
        # Not drain(): it waits for the answers to pulls that nobody reads any more.
        if self._client.is_connected:
            with suppress(NatsError, TimeoutError):
                await self._client.flush(int(self._timeout))
        if not self._client.is_closed:
            with suppress(NatsError, TimeoutError):
                await asyncio.wait_for(self._client.close(), self._timeout)

    async def _connect(self) -> None:
        await self._client.connect(
            servers=self._url.split(","),
            user=self._user,
            password=self._password,
            name=self._name,
            inbox_prefix=self.inbox_prefix.encode(),
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            connect_timeout=2,
            ping_interval=10,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
        )
        _log.info("broker connected", url=self._place)

    def _tell_if_never(self, connecting: asyncio.Task[None]) -> None:
        """Outages are waited for; what ends the task is a defect or an address that is none."""
        if not connecting.cancelled() and (error := connecting.exception()):
            _log.error("broker can't be connected", url=self._place, problem=repr(error))

    async def _on_error(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if "permissions violation" in text.lower():
            _log.error("broker refuses: permission denied", detail=text, user=self._user)
            for subjects, denied in self._watchers:
                if not denied.done() and any(subject in text.lower() for subject in subjects):
                    denied.set_result(text)
        else:
            _log.warning("broker error", detail=text)

    async def _on_disconnect(self) -> None:
        lost_by, self._client.lost_by = self._client.lost_by, None
        if lost_by is None:  # closed by us
            _log.info("broker disconnected", url=self._place)
        else:
            reason = str(lost_by) or type(lost_by).__name__
            _log.warning("broker disconnected", url=self._place, reason=reason)

    async def _on_reconnect(self) -> None:
        _log.info("broker reconnected", url=self._place)

    async def call(self, reply: Awaitable[T], subjects: Collection[str]) -> T:
        """Awaits a call to the broker; raises BrokerUnavailable for whatever is not its answer.

        A denied permission comes only to the error callback, naming the subject; left to itself,
        the call would end as a time-out.
        """
        denied: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        watcher = (frozenset(subject.lower() for subject in subjects), denied)
        self._watchers.add(watcher)
        task = asyncio.ensure_future(reply)
        waiting: set[asyncio.Future[Any]] = {task, denied}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if denied.done() and not task.done():
                raise BrokerUnavailable(denied.result())
            return await task
        except MaxPayloadError as error:
            raise EventRefused(str(error)) from error
        except (NatsError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            self._watchers.discard(watcher)
            task.cancel()

    def client(self) -> Client:
        """The connected client; raises BrokerUnavailable."""
        if not self._client.is_connected:
            raise BrokerUnavailable(f"not connected to {self._place}")
        return self._client

    async def publish(self, event: Event) -> None:
        """Stores one event; see `eventbus.broker.Publisher`."""
        reply = await self._publish(event, event.id)
        # The broker remembers ids of what was deleted or purged since: such an event isn't stored.
        # Another id for the broker alone has it stored; listeners know it by its `ce-id`.
        while reply.get("duplicate") and not await self.reader(reply["stream"]).has(reply["seq"]):
            reply = await self._publish(event, f"{event.id}.{reply['seq']}")

    async def _publish(self, event: Event, message_id: str) -> dict[str, Any]:
        headers = event.headers() | {ID_HEADER: message_id}
        request = self.client().request(
            event.subject, event.data, timeout=self._timeout, headers=headers
        )
        reply: dict[str, Any] = json.loads((await self.call(request, [event.subject])).data)
        if (error := reply.get("error")) is None:
            return reply
        text = f"{error.get('description')} ({error.get('err_code')})"
        if error.get("err_code") in _REFUSED_FOR_GOOD:
            raise EventRefused(text)
        raise BrokerUnavailable(text)

    async def publish_batch(self, events: Sequence[Event]) -> None:
        """Stores all events as one atomic batch; see `eventbus.broker.Publisher`."""
        subjects = {event.subject for event in events}
        reply = json.loads((await self.call(self._send_batch(events), subjects)).data)
        if error := reply.get("error"):
            raise BatchRefused(f"{error.get('description')} ({error.get('err_code')})")

    async def _send_batch(self, events: Sequence[Event]) -> Msg:
        client, last = self.client(), events[-1]
        batch_id = uuid.uuid4().hex
        for sequence, event in enumerate(events[:-1], start=1):
            headers = _batch_headers(event, batch_id, sequence)
            await client.publish(event.subject, event.data, headers=headers)
        headers = _batch_headers(last, batch_id, len(events)) | {"Nats-Batch-Commit": "1"}
        return await client.request(last.subject, last.data, timeout=self._timeout, headers=headers)

    def pull_consumer(self, stream: str, durable: str) -> JetStreamPullConsumer:
        """The durable consumer of a stream, declared before by an administrator."""
        return JetStreamPullConsumer(self, stream, durable)

    def reader(self, stream: str) -> JetStreamStreamReader:
        """A stream, to be read past its consumers."""
        return JetStreamStreamReader(self, stream)

    async def headers_of(self, raw: bytes) -> dict[str, str]:
        """Headers of a message as it is stored."""
        return await self._client.headers_of(raw) if raw else {}


def _batch_headers(event: Event, batch_id: str, sequence: int) -> dict[str, str]:
    return event.headers() | {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(sequence)}
