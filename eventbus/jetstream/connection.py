"""The connection to the NATS server: opened in the background, reconnected without limit."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from eventbus.broker import BrokerUnavailable, EventRefused
from eventbus.jetstream.client import ReconnectingClient, describe
from eventbus.jetstream.login import BrokerLogin

_log = structlog.get_logger(__name__)
T = TypeVar("T")


class Connection:
    """One connection. It reconnects indefinitely, also if it was never connected before.

    `request_seconds` is the time limit of a request.
    """

    def __init__(self, login: BrokerLogin, name: str, inbox_prefix: str = "") -> None:
        """`inbox_prefix` is "_INBOX_" and the user's name by default."""
        self._inbox_prefix = inbox_prefix or f"_INBOX_{login.user or name}"
        self._login, self._name, self._address = login, name, login.address
        # What keeps it from connecting; empty while it is connected, or nothing has failed.
        self._problem = ""
        self._client = ReconnectingClient()
        self._connecting: asyncio.Task[None] | None = None
        self._subscriptions: list[tuple[str, Callable[[Msg], Awaitable[None]]]] = []
        self.request_seconds = 5.0
        # Subjects of the calls under way, and the future that fails a call if one is denied.
        self._calls: set[tuple[frozenset[str], asyncio.Future[str]]] = set()

    @property
    def connected(self) -> bool:
        """Whether the broker is reachable."""
        return self._client.is_connected

    @property
    def inbox_prefix(self) -> str:
        """The prefix of reply subjects; the user's permissions name the same."""
        return self._inbox_prefix

    def subscribe(self, subject: str, receive: Callable[[Msg], Awaitable[None]]) -> None:
        """Receives the messages of a subject that nothing stores; to be called before `open`."""
        self._subscriptions.append((subject, receive))

    def open(self) -> None:
        """Starts to connect and returns; until it is connected, calls raise BrokerUnavailable."""
        self._connecting = asyncio.create_task(self._connect(), name="nats-connect")
        self._connecting.add_done_callback(self._log_connect_failure)

    async def wait_connected(self, seconds: float) -> None:
        """Waits for the first connection; raises BrokerUnavailable."""
        if self._connecting is None:
            raise BrokerUnavailable("not opened")
        done, _ = await asyncio.wait({self._connecting}, timeout=seconds)
        if not done:
            raise BrokerUnavailable(self._unreachable(f"within {seconds:g} s"))
        if error := self._connecting.exception():
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Flushes what was sent, acknowledgements included, and disconnects."""
        if self._connecting is None:  # the library cannot close a client that was never opened
            return
        if not self._connecting.done():
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        elif not self._connecting.cancelled() and self._connecting.exception():
            return
        # Not drain(): it waits for replies to pull requests that nothing reads any more.
        if self._client.is_connected:
            with suppress(NatsError, TimeoutError):
                await self._client.flush(int(self.request_seconds))
        if not self._client.is_closed:
            with suppress(NatsError, TimeoutError):
                await asyncio.wait_for(self._client.close(), self.request_seconds)

    async def _connect(self) -> None:
        await self._client.connect(
            **self._login.connect_options(),
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
        self._problem = ""
        for subject, receive in self._subscriptions:
            await self._client.subscribe(subject, cb=receive)
        _log.info("broker connected", url=self._address)

    def _log_connect_failure(self, connecting: asyncio.Task[None]) -> None:
        """Outages do not end the task: only an invalid address or a defect does."""
        if not connecting.cancelled() and (error := connecting.exception()):
            _log.error("broker connect failed", url=self._address, error=repr(error))

    async def _on_error(self, error: Exception) -> None:
        text = describe(error)
        if "permissions violation" not in text.lower():
            self._problem = text
            _log.warning("broker error", detail=text)
            return
        _log.error("broker permission denied", detail=text, user=self._login.user)
        for subjects, denied in self._calls:
            if not denied.done() and any(subject in text.lower() for subject in subjects):
                denied.set_result(text)

    async def _on_disconnect(self) -> None:
        error, self._client.disconnect_error = self._client.disconnect_error, None
        if error is None:
            _log.info("broker disconnected", url=self._address)
        else:
            self._problem = reason = describe(error)
            _log.warning("broker disconnected", url=self._address, reason=reason)

    async def _on_reconnect(self) -> None:
        self._problem = ""
        _log.info("broker reconnected", url=self._address)

    async def call(self, reply: Awaitable[T], subjects: Collection[str]) -> T:
        """Awaits the reply to a request on `subjects`; raises BrokerUnavailable, EventRefused.

        The server reports a denied permission to the error callback alone, with the subject:
        without this watch, the call would time out.
        """
        denied: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        call = (frozenset(subject.lower() for subject in subjects), denied)
        self._calls.add(call)
        task = asyncio.ensure_future(reply)
        pending: set[asyncio.Future[Any]] = {task, denied}
        try:
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if denied.done() and not task.done():
                raise BrokerUnavailable(denied.result())
            return await task
        except MaxPayloadError as error:
            raise EventRefused(str(error)) from error
        except (NatsError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            self._calls.discard(call)
            task.cancel()

    async def first_client(self, seconds: float) -> ReconnectingClient:
        """The connected client; waits for it during the start. Raises BrokerUnavailable."""
        if self._connecting is not None and not self._connecting.done():
            await self.wait_connected(seconds)
        return self.client()

    def client(self) -> ReconnectingClient:
        """The connected client; raises BrokerUnavailable."""
        if not self._client.is_connected:
            raise BrokerUnavailable(self._unreachable(""))
        return self._client

    def _unreachable(self, when: str) -> str:
        problem = self._client.problems or self._problem
        cause = f": {problem}" if problem else ""
        return f"{f'no broker at {self._address} {when}'.rstrip()}{cause}"

    async def headers_of(self, raw: bytes) -> dict[str, str]:
        """Parses the headers of a stored message."""
        return await self._client.headers_of(raw)
