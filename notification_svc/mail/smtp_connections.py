"""Connections to the mail server that stay open between mails.

Connecting, TLS and authentication take longer than the mail. A connection is kept for a few seconds
and for a limited number of mails: servers close idle ones, and limit the mails of each. Before the
next mail RSET shows whether it still works, when nothing of that mail has been sent: a mail is not
sent twice because its connection was old.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Literal

from aiosmtplib import SMTP, SMTPException

QUIT_SECONDS = 1.0
_IDLE_SECONDS = 10.0
_MAX_MAILS = 100
# A host that is gone does not reply: the rest of the time is for a new connection.
_RESET_SECONDS = 2.0
FAILURES = (SMTPException, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class MailServer:
    """The SMTP server; `seconds` is the limit for handing over one mail."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: Literal["none", "starttls", "tls"]
    seconds: float


@dataclass(eq=False, slots=True)
class SmtpConnection:
    """An open connection, and how many mails it was taken for."""

    client: SMTP
    mails: int = 1
    expiry: asyncio.TimerHandle | None = None


class SmtpConnections:
    """The connections of one process. A connection carries one mail at a time."""

    def __init__(self, server: MailServer, own_domain: str) -> None:
        """`own_domain` is the host name in HELO."""
        self._server, self._own_domain = server, own_domain
        self._idle: list[SmtpConnection] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def take(self) -> SmtpConnection:
        """A connection for one mail: an idle one that works, or a new one.

        Raises SMTPException, OSError.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.expiry:
                connection.expiry.cancel()
            if await _is_usable(connection.client):
                connection.mails += 1
                return connection
            # The others are as old: the server has restarted, or is out of reach.
            await self.close()
        client = self._client()
        await client.connect()
        return SmtpConnection(client)

    def keep(self, connection: SmtpConnection) -> None:
        """Takes back a connection whose server has replied to the mail."""
        if connection.mails >= _MAX_MAILS or not connection.client.is_connected:
            self._close_later(connection)
            return
        loop = asyncio.get_running_loop()
        connection.expiry = loop.call_later(_IDLE_SECONDS, self._expire, connection)
        self._idle.append(connection)

    async def close(self) -> None:
        """Closes the idle connections."""
        for connection in self._idle:
            self._close_later(connection)
        self._idle.clear()
        await asyncio.gather(*self._closing)

    def _expire(self, connection: SmtpConnection) -> None:
        self._idle.remove(connection)
        self._close_later(connection)

    def _close_later(self, connection: SmtpConnection) -> None:
        if connection.expiry:
            connection.expiry.cancel()
        task = asyncio.get_running_loop().create_task(quit_session(connection.client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _client(self) -> SMTP:
        server = self._server
        return SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password or None,
            local_hostname=self._own_domain,
            timeout=server.seconds,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
        )


async def _is_usable(client: SMTP) -> bool:
    if not client.is_connected:
        client.close()
        return False
    try:
        async with asyncio.timeout(_RESET_SECONDS):
            await client.rset()
    except FAILURES:
        client.close()
        return False
    return True


async def quit_session(client: SMTP) -> None:
    """Ends the session; errors are ignored, since the outcome of the mail is known."""
    if client.is_connected:
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(QUIT_SECONDS):
                await client.quit()
    client.close()
