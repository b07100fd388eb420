"""Two replicas of each service on servers of a stack; each runs one of two releases at a time."""

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from clients import Clients, Service, open_channel
from devstack import commands
from devstack.servers.postgres import SERVICES
from devstack.servers.postgres_installation import Installation
from devstack.settings import Settings
from devstack.stack import Stack
from devstack.supervision.ports import Port
from devstack.supervision.probes import grpc_is_serving
from devstack.supervision.processes import Process, Program, Supervisor
from tests.deploy.upgrades.calls import CallLog, RecordingChannel
from tests.deploy.upgrades.releases import Release

SERVERS = ("postgres", "nats", "mailbox", "provider")
NUMBERS = (0, 1)
# Longer than a service takes at most: SHUTDOWN_GRACE_SECONDS, workers, relay.
_STOP_SECONDS = 35.0
_START_SECONDS = 60.0
_STEP_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A log entry, with the service and the release that wrote it."""

    service: str
    release: Release
    fields: Mapping[str, Any]


class Replicas:
    """The processes of all services. A restart of one must not disturb those who call it."""

    def __init__(self, stack: Stack, ports: Mapping[str, list[Port]]) -> None:
        self.stack, self._ports = stack, ports
        self._supervisor = Supervisor(stack.directory)
        self._processes: dict[tuple[str, int], Process] = {}
        self._logs: dict[Path, tuple[str, Release]] = {}
        self._read: dict[Path, int] = {}  # how many bytes of each log
        self._entries: list[Entry] = []

    async def run(self, program: Program) -> str:
        """Runs a one-time step until it succeeds; returns all that it has written so far."""
        await self._supervisor.run(program, _STEP_SECONDS)
        return self.stack.log(program.name).read_text("utf-8")

    async def start(self, service: str, number: int, release: Release) -> None:
        """Starts a replica and waits until it is ready."""
        self._spawn(service, number, release)
        await self._wait_until_ready(service, number)

    async def start_all(self, release: Release) -> None:
        """Starts all replicas at once, and waits until they are ready."""
        for service in SERVICES:
            for number in NUMBERS:
                self._spawn(service, number, release)
        for service, number in list(self._processes):
            await self._wait_until_ready(service, number)

    async def stop(self, service: str, number: int) -> None:
        """Sends SIGTERM and waits until the process has ended by itself, with exit status 0."""
        process = self._processes.pop((service, number))
        process.signal(process.program.stop_signal)
        ended = await process.wait_for_exit(_STOP_SECONDS)
        if not ended:
            await process.kill()
        assert ended, f"{process.program.name} did not end by itself"
        assert process.exit_status == 0, process.log.tail()

    async def roll(self, service: str, number: int, release: Release) -> None:
        """Replaces a replica by one of a release, as a platform does."""
        await self.stop(service, number)
        await self.start(service, number, release)

    async def end(self) -> None:
        """Ends what still runs."""
        for process in self._processes.values():
            await process.terminate()

    def connect(self, token: str, calls: CallLog) -> Clients:
        """Clients as the documentation wants them, over both replicas; records their calls."""
        return Clients(
            {
                service: RecordingChannel(
                    open_channel(_target(self._ports[service]), name=service, token=token), calls
                )
                for service in Service
            }
        )

    def entries(self) -> list[Entry]:
        """The log entries of all replicas so far."""
        for path, (service, release) in self._logs.items():
            with path.open("rb") as log:
                log.seek(self._read.get(path, 0))
                whole, newline, _ = log.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(whole + newline)
            lines = (line for line in whole.splitlines() if line.startswith(b"{"))
            self._entries += (Entry(service, release, orjson.loads(line)) for line in lines)
        return self._entries

    def _spawn(self, service: str, number: int, release: Release) -> None:
        program = commands.service(self.stack, service)
        name = f"{service}-{number}-{release.name}"
        program = release.runs(program, name)
        environment = {**program.environment, **self._addresses(service, number)}
        program = replace(program, environment=environment)
        self._processes[service, number] = self._supervisor.spawn(program)
        self._logs[self.stack.log(name)] = service, release

    async def _wait_until_ready(self, service: str, number: int) -> None:
        is_ready = partial(grpc_is_serving, self._ports[service][number].address, None)
        await self._processes[service, number].wait_until_ready(is_ready, _START_SECONDS)

    def _addresses(self, service: str, number: int) -> dict[str, str]:
        prefix, internal = service.upper(), self._ports["payment_internal"]
        addresses = {f"{prefix}_LISTEN": self._ports[service][number].address}
        if service == "payment":
            addresses["PAYMENT_INTERNAL_LISTEN"] = internal[number].address
        if service == "interview":
            addresses["INTERVIEW_PAYMENT_TARGET"] = _target(internal)
        return addresses


def _target(ports: list[Port]) -> str:
    return f"ipv4:{','.join(port.address for port in ports)}"


@asynccontextmanager
async def servers(directory: Path) -> AsyncIterator[Replicas]:
    """PostgreSQL, NATS without streams, mailbox and provider; no schemas and no replica yet."""
    with ExitStack() as reserved:
        ports = {name: [Port.claim(0) for _ in NUMBERS] for name in (*SERVICES, "payment_internal")}
        for port in [port for both in ports.values() for port in both]:
            reserved.callback(port.close)
        # Lines of single events, which tell who handled them.
        environment = {name: {f"{name.upper()}_LOG_LEVEL": "DEBUG"} for name in SERVICES}
        environment["provider"] = {"PROVIDER_WEBHOOK_TARGET": _target(ports["payment"])}
        no_streams = directory.with_suffix(".toml")
        no_streams.write_text("[streams]\n[consumers]\n", "utf-8")
        settings = replace(
            Settings.on_free_ports(),
            fsync=False,
            environment=environment,
            topology=no_streams,
        )
        stack = Stack(directory, settings)
        try:
            await stack.start_only(SERVERS)
            replicas = Replicas(stack, ports)
            try:
                yield replicas
            finally:
                await replicas.end()
        finally:
            await stack.stop()
            Installation(directory).remove()
