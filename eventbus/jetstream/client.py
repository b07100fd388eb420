"""The NATS client, extended: it reconnects after any error and reads any message."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import ParseResult

from nats.aio.client import DEFAULT_BUFFER_SIZE, Client, Srv
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError
from nats.protocol.parser import PERMISSIONS_ERR


class TlsTransport(TcpTransport):
    """The library's transport, with a change to TLS that asyncio knows of.

    The library puts a second stream on the connection, which logs a warning at each end of it.
    """

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,  # noqa: ARG002 - of the library's signature
        connect_timeout: int,
    ) -> None:
        host = uri if isinstance(uri, str) else uri.hostname
        writer = self._io_writer
        if writer is None:
            raise NatsError("not connected")
        async with asyncio.timeout(connect_timeout):
            await writer.start_tls(ssl_context, server_hostname=host)


class ReconnectingClient(Client):
    """A client that no server error and no message can end.

    The library's client closes permanently after most errors of the server, also after temporary
    ones such as a password that is being changed or too many connections; this one reconnects. It
    also delivers messages that would end the library's read loop, or that the library would take
    for a status of the server: the bus itself rejects those that are not events.
    """

    # The error that ended the last connection; None if it was closed on purpose.
    disconnect_error: Exception | None = None

    def __init__(self) -> None:
        super().__init__()
        # Why each server could not be connected to at the last attempt, by host and port.
        self._problems: dict[str, str] = {}
        self._user_key: Callable[[], str] | None = None

    async def connect(
        self, *arguments: Any, user_key: Callable[[], str] | None = None, **options: Any
    ) -> None:
        """Connects; `user_key` gives the public key of a user who has no token."""
        self._user_key = user_key
        await super().connect(*arguments, **options)

    @property
    def problems(self) -> str:
        """Why no server could be connected to, "" if none failed; of several, each by its name."""
        if len(self._problems) == 1 and len(self._server_pool) == 1:
            return next(iter(self._problems.values()))
        return "; ".join(f"{server}: {text}" for server, text in sorted(self._problems.items()))

    def _note_problem(self, server: Srv | None, error: Exception) -> None:
        if server is not None:
            self._problems[server.uri.netloc.rpartition("@")[2]] = describe(error)

    async def _process_err(self, err_msg: str) -> None:
        if PERMISSIONS_ERR in err_msg:  # it concerns one request; the connection stays open
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(NatsError(f"server error: {err_msg}"))

    async def _process_op_err(self, e: Exception) -> None:
        if self.is_connected:
            self.disconnect_error = e
        await super()._process_op_err(e)

    async def _connect_to_server(self, s: Srv) -> None:
        s.last_attempt = time.monotonic()
        self._transport = TlsTransport()  # type: ignore[no-untyped-call]
        try:
            await self._transport.connect(
                s.uri,
                buffer_size=DEFAULT_BUFFER_SIZE,
                connect_timeout=self.options["connect_timeout"],
            )
        except Exception as error:
            self._note_problem(s, error)
            raise

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # The library sends the password in the clear to a server that does not demand TLS.
        if initial_connection and "tls" in self.options and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise NatsError("the server does not offer TLS")
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _process_connect_init(self) -> None:
        try:
            self._public_nkey = self._user_key() if self._user_key else None
            await super()._process_connect_init()
            self._problems.clear()
        except Exception as error:
            if self._transport:  # the library leaves it open
                self._transport.close()  # type: ignore[no-untyped-call]
            if isinstance(error, NatsError | OSError | TimeoutError):
                self._note_problem(self._current_server, error)
                raise
            # The library would stop reconnecting after any other class of error.
            problem = NatsError(f"peer is not a NATS server: {error!r}")
            self._note_problem(self._current_server, problem)
            raise problem from error

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        if reply.startswith(b"$JS.ACK"):
            headers = _without_status(headers)
        # The library decodes subjects strictly, and its read loop ends if that fails.
        readable = subject.decode("utf-8", "replace").encode()
        message: Msg = super()._build_message(sid, readable, reply, data, headers)
        return message

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """Headers by name: the same as the library's, in half the time."""
        headers: dict[str, str] = {}
        for line in raw.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if not (colon and name.isascii()):
                continue
            key = name.strip().decode("ascii")
            # No name contains white space.
            if not key or key.split() == [key]:
                headers[key] = value.strip().decode("utf-8", "replace")
        return headers

    async def send_commands(self, commands: Sequence[bytes]) -> None:
        """Sends the commands of `publish_command` in order, as one write."""
        await self._send_command(b"".join(commands))
        await self._flush_pending()

    async def headers_of(self, raw: bytes) -> dict[str, str]:
        """Parses the headers of a stored message in the same way as those of a delivered one."""
        return (_without_status(await self._process_headers(raw)) or {}) if raw else {}


def describe(error: Exception) -> str:
    """The text of an error, or the name of its class if it has none."""
    return str(error) or type(error).__name__


def publish_command(subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The protocol's command that publishes a message; in a third of the library's time.

    The subject is valid; line breaks in headers become spaces.
    """
    if headers is None:
        return b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(data), data)
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not lines.count("\r") == lines.count("\n") == len(headers):
        lines = "".join(f"{name}: {' '.join(headers[name].split())}\r\n" for name in headers)
    head = f"NATS/1.0\r\n{lines}\r\n".encode()
    sizes = len(head), len(head) + len(data)
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (subject.encode(), *sizes, head, data)


def _without_status(headers: dict[str, str] | None) -> dict[str, str] | None:
    """Renames a publisher's header Status, which the library would take for the server's."""
    if not headers:
        return headers
    return {f"X-{name}" if name == "Status" else name: headers[name] for name in headers}
