"""PostgreSQL, NATS and a mail server with nothing in them, reachable from containers."""

import asyncio
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from devstack.servers import nats_server
from devstack.servers.nats_server import USERS
from devstack.servers.postgres import SUPERUSER, Server
from devstack.servers.postgres_installation import Installation
from devstack.supervision.ports import LOOPBACK, Port
from devstack.supervision.probes import smtp_is_greeting
from devstack.supervision.processes import Program, Supervisor
from eventbus.jetstream import BrokerLogin
from runtime.database_url import DatabaseUrl
from tests.deploy.kubernetes.tools import PROJECT

DATABASE = "interviews"
PASSWORD = "p4ssword"
_START_SECONDS = 60.0
_IP_FREEBIND = 15  # of Linux
_READ_BYTES = 64 * 1024


@dataclass(frozen=True)
class EmptyServers:
    """Ports by name (postgres, nats, mail), and the directory of the mails."""

    ports: dict[str, int]
    mail_dir: Path


@asynccontextmanager
async def empty_servers(directory: Path) -> AsyncIterator[EmptyServers]:
    """Starts them on the loopback interface; containers reach them by `forwarded`."""
    supervisor, installation = Supervisor(directory), Installation(directory)
    mail_dir, names = directory / "mail", ("postgres", "nats", "mail")
    async with AsyncExitStack() as running:
        ports = {name: running.enter_context(closing(Port.claim(0))).number for name in names}

        async def start(program: Program, probe: Callable[[], Awaitable[bool]]) -> None:
            process = supervisor.spawn(program)
            running.push_async_callback(process.terminate)
            await process.wait_until_ready(probe, _START_SECONDS)

        await installation.prepare(supervisor, PASSWORD)
        running.callback(installation.remove)
        url = DatabaseUrl("", f"{LOOPBACK}:{ports['postgres']}", "postgres", {})
        server = Server(url.with_login(SUPERUSER, PASSWORD))
        await start(installation.program(ports["postgres"], fsync=False), server.is_ready)
        connection = await server.connect("postgres")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
        await connection.close()

        nats = nats_server.program(
            ports["nats"], directory / "streams", dict.fromkeys(USERS, PASSWORD)
        )
        login = BrokerLogin.parse(f"nats://{LOOPBACK}:{ports['nats']}", "admin", PASSWORD)
        await start(nats, partial(nats_server.accepts_login, login))
        options = ["--port", str(ports["mail"]), "--dir", str(mail_dir)]
        command = [sys.executable, "-m", "devstack.servers.mailbox", *options]
        mailbox = Program("mailbox", command, {"PYTHONPATH": str(PROJECT)})
        await start(mailbox, partial(smtp_is_greeting, LOOPBACK, ports["mail"]))
        yield EmptyServers(ports, mail_dir)


@contextmanager
def forwarded(address: str, ports: Iterable[int]) -> Iterator[None]:
    """Accepts connections at an address of this machine, and passes them on to loopback.

    The address may come and go, as that of a bridge does with its containers. Runs in a thread: the
    test may wait for podman.
    """
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with AsyncExitStack() as listening:
            for port in ports:
                accepting = socket.socket()
                accepting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                accepting.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
                accepting.bind((address, port))
                server = await asyncio.start_server(partial(_forward, port), sock=accepting)
                listening.callback(server.close)
            ready.set()
            await asyncio.to_thread(stop.wait)
        # Pods that were killed have closed no connection.
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    try:
        assert ready.wait(_START_SECONDS), f"cannot listen at {address}"
        yield
    finally:
        stop.set()
        thread.join()


async def _forward(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    other_reader, other_writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
    except asyncio.CancelledError:
        for each in (writer, other_writer):
            each.transport.abort()
            with suppress(OSError):
                await each.wait_closed()
        raise


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # one side has ended, so does the other
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
