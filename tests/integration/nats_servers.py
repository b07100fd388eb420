"""Brokers that say no: a nats-server of a test's own, and one that only pretends to be one."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from devstack.servers import nats_server
from devstack.servers.nats_server import USERS, Login
from devstack.supervision.ports import LOOPBACK, Port
from devstack.supervision.processes import Process, Supervisor

ADMIN = "of-the-administrator"
_START_SECONDS = 20.0
_CONFIGURATION = """
listen: "{address}"
jetstream: {{ store_dir: "{store}" }}
accounts: {{
  BUS: {{
    jetstream: enabled
    users: [
      {{ user: admin, password: "{admin}" }}
      {{ user: service, password: "{password}" }}
    ]
  }}
}}
"""


@dataclass
class OwnServer:
    """A nats-server whose users' passwords may be changed while it runs."""

    port: Port
    directory: Path
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"nats://{self.port.address}"

    @property
    def configuration(self) -> Path:
        return self.directory / "server.conf"

    def change_password(self, password: str) -> None:
        """Of the user `service`; a server that runs ends that user's connections."""
        store = self.directory / "store"
        text = _CONFIGURATION.format(
            address=self.port.address, store=store, admin=ADMIN, password=password
        )
        self.configuration.write_text(text)
        if self.process:
            self.process.signal(signal.SIGHUP)


@asynccontextmanager
async def own_server(directory: Path, password: str) -> AsyncIterator[OwnServer]:
    """A running one with the users `admin` and `service`."""
    port = Port.claim(0)
    server = OwnServer(port, directory)
    server.change_password(password)
    usual = nats_server.program(port.number, directory / "store", dict.fromkeys(USERS, ""))
    command = [usual.command[0], "--config", str(server.configuration)]
    server.process = Supervisor(directory).spawn(replace(usual, command=command))
    try:
        admin = Login(LOOPBACK, port.number, "admin", ADMIN)
        await server.process.wait_until_ready(admin.is_accepted, _START_SECONDS)
        yield server
    finally:
        await server.process.terminate()
        port.close()


class Pretender:
    """Plays one line to each connection in turn, and then ends it; lets all later ones be.

    A line that begins with -ERR comes when the connection stands, any other instead of a greeting.
    """

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = list(lines)
        self.url = ""
        self.played = 0

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._play(reader, writer)
        except (OSError, asyncio.CancelledError):  # the other side, or the test, is gone
            return
        finally:
            writer.close()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = self._lines.pop(0) if self._lines else b""
        if line and not line.startswith(b"-ERR"):
            self.played += 1
            writer.write(line)
            return
        info = {"server_id": "x", "version": "2.15.1", "headers": True, "max_payload": 1_000_000}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        while command := await reader.readline():
            if command.startswith(b"PING"):
                writer.write(b"PONG\r\n" + line)
                self.played += bool(line)
                if line:
                    return


@asynccontextmanager
async def pretender(*lines: bytes) -> AsyncIterator[Pretender]:
    """Such a server on a free port."""
    playing = Pretender(lines)
    server = await asyncio.start_server(playing.receive, LOOPBACK, 0)
    playing.url = f"nats://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    try:
        yield playing
    finally:
        server.close()
