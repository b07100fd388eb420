"""NATS servers with faults: a nats-server that a test reconfigures, and a scripted fake one."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from devstack.servers import nats_server
from devstack.servers.nats_server import USERS
from devstack.supervision.ports import LOOPBACK, Port
from devstack.supervision.processes import Process, Supervisor
from eventbus.jetstream import BrokerLogin, connect

ADMIN_PASSWORD = "admin-password"
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
class ConfigurableServer:
    """A nats-server whose user's password may be changed while it runs."""

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
        """Changes that of the user `service`; a running server closes the user's connections."""
        store = self.directory / "store"
        text = _CONFIGURATION.format(
            address=self.port.address, store=store, admin=ADMIN_PASSWORD, password=password
        )
        self.configuration.write_text(text)
        if self.process:
            self.process.signal(signal.SIGHUP)


@asynccontextmanager
async def configurable_server(directory: Path, password: str) -> AsyncIterator[ConfigurableServer]:
    """A running server with the users `admin` and `service`."""
    port = Port.claim(0)
    server = ConfigurableServer(port, directory)
    server.change_password(password)
    admin = BrokerLogin.parse(server.url, "admin", ADMIN_PASSWORD)
    try:
        async with running_server(server.configuration, admin) as process:
            server.process = process
            yield server
    finally:
        port.close()


@asynccontextmanager
async def running_server(
    configuration: Path, login: BrokerLogin, *, with_jetstream: bool = True
) -> AsyncIterator[Process]:
    """A nats-server with the given configuration, once it accepts the login."""
    directory = configuration.parent
    program = nats_server.program(0, directory / "store", dict.fromkeys(USERS, ""))
    command = [program.command[0], "--config", str(configuration)]
    process = Supervisor(directory).spawn(replace(program, command=command))
    try:
        probe = partial(nats_server.accepts_login if with_jetstream else _connects, login)
        await process.wait_until_ready(probe, _START_SECONDS)
        yield process
    finally:
        await process.terminate()


async def _connects(login: BrokerLogin) -> bool:
    client = await connect(login, "probe", _START_SECONDS)
    await client.close()
    return True


class ScriptedServer:
    """Sends one line of its script to each connection in turn, then closes it; keeps later ones.

    A line that begins with -ERR is sent after the handshake, any other one instead of it.
    """

    def __init__(self, script: Sequence[bytes]) -> None:
        self._script = list(script)
        self.url = ""
        self.sent_count = 0

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._run_script(reader, writer)
        except (OSError, asyncio.CancelledError):  # the client or the test has ended
            return
        finally:
            writer.close()

    async def _run_script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = self._script.pop(0) if self._script else b""
        if line and not line.startswith(b"-ERR"):
            self.sent_count += 1
            writer.write(line)
            return
        info = {"server_id": "x", "version": "2.15.1", "headers": True, "max_payload": 1_000_000}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        while command := await reader.readline():
            if command.startswith(b"PING"):
                writer.write(b"PONG\r\n" + line)
                self.sent_count += bool(line)
                if line:
                    return


@asynccontextmanager
async def scripted_server(*script: bytes) -> AsyncIterator[ScriptedServer]:
    """A scripted server on a free port."""
    scripted = ScriptedServer(script)
    server = await asyncio.start_server(scripted.receive, LOOPBACK, 0)
    scripted.url = f"nats://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    try:
        yield scripted
    finally:
        server.close()
