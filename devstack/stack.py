"""The whole stack: started in order, stopped in reverse, each part to be disturbed by tests."""

import asyncio
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack import commands
from devstack.addresses import SECRETS, Addresses
from devstack.errors import DevstackError, ProcessFailedError
from devstack.secret_store import load_secrets
from devstack.servers import nats_server, postgres
from devstack.servers.postgres import SERVICES
from devstack.servers.postgres_installation import Installation
from devstack.settings import Settings
from devstack.supervision.directory_lock import DirectoryLock
from devstack.supervision.ports import Port
from devstack.supervision.probes import grpc_is_serving, smtp_is_greeting
from devstack.supervision.processes import Process, Program, Supervisor

COMPONENTS = ("postgres", "nats", "mailbox", "provider", *SERVICES)

_STEP_LIMIT = 120.0
_SHARED_MEMORY_LIMIT = 15.0


class Stack(Addresses):
    """One stack on one data directory.

    Start components from a thread that outlives them, best the main one: on Linux they end with
    the thread that started them.
    """

    def __init__(
        self,
        data_dir: Path = Path(".dev"),
        settings: Settings | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(data_dir, settings or Settings())
        self._report = report
        self._supervisor = Supervisor(self.directory)
        self._installation = Installation(self.directory)
        self._processes: dict[str, Process] = {}
        self._held = ExitStack()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self, component: str | None = None) -> None:
        """Starts everything and waits until it is ready; or one component that is down.

        If starting everything fails or is cancelled, whatever was started is stopped.
        """
        if component is None:
            await self.start_only(COMPONENTS)
        else:
            await self._start_component(component)

    async def start_only(self, components: Iterable[str]) -> None:
        """Starts some components, in the right order, and none of the others."""
        try:
            await self._open()
            await self._start_in_order(frozenset(components))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends everything in reverse order and gives the data directory back."""
        with self._held:
            # The services side by side: each may take its time to finish its work.
            await asyncio.gather(*(self._end(name) for name in SERVICES))
            for name in reversed(COMPONENTS):
                await self._end(name)

    async def terminate(self, component: str) -> None:
        """Ends one component in good order; it is killed if it takes too long."""
        self._running(component)
        await self._end(component)

    async def kill(self, component: str) -> None:
        """SIGKILL."""
        await self._running(component).kill()
        del self._processes[component]

    def suspend(self, component: str) -> None:
        """SIGSTOP: the component keeps its connections and answers nobody."""
        self._running(component).signal(signal.SIGSTOP)

    def resume(self, component: str) -> None:
        """SIGCONT."""
        self._running(component).signal(signal.SIGCONT)

    def pid(self, component: str) -> int:
        return self._running(component).pid

    def is_running(self, component: str) -> bool:
        process = self._processes.get(component)
        return process is not None and process.status is None

    def ended(self) -> dict[str, int]:
        """Components that ended by themselves, and their exit status."""
        down = {name: process.status for name, process in self._processes.items()}
        return {name: status for name, status in down.items() if status is not None}

    async def migrate(self, service: str) -> None:
        """Brings a service's schema up to date."""
        await self._supervisor.run(commands.migration(self, service), _STEP_LIMIT)

    async def clean(self) -> None:
        """Ends what a killed stack left behind and removes all data, while no stack runs."""
        secrets = self.directory / "secrets.json"
        if not secrets.exists():  # never started there, or somebody else's directory
            return
        with DirectoryLock(self.directory):
            await self._supervisor.end_leftovers()
            self._installation.remove()
            _remove_all_but(secrets, self.directory)
            secrets.unlink()
            self.directory.rmdir()

    async def _open(self) -> None:
        """Takes the data directory and the ports."""
        self._held.enter_context(DirectoryLock(self.directory))
        left = await self._supervisor.end_leftovers()
        if left:
            self._report(f"ended what a killed stack left running: {', '.join(left)}")
        self._secrets = load_secrets(self.directory / "secrets.json", SECRETS)
        self.keys.prepare()
        self._ports = {name: self._claim(name) for name in COMPONENTS}
        self.write_addresses()

    def _claim(self, name: str) -> Port:
        port = Port.claim(self.settings.ports.get(name, 0))
        self._held.callback(port.close)
        return port

    async def _start_in_order(self, wanted: frozenset[str]) -> None:
        if "postgres" in wanted:
            await self._start_postgres()
            server = self.postgres_server
            await postgres.provision(server, self.role_passwords)
            self._report(f"PostgreSQL on {server.host}:{server.port}")
        if "nats" in wanted:
            await self._start_nats()
            await self._supervisor.run(commands.topology(self), _STEP_LIMIT)
            self._report(f"NATS on {self.nats_url.removeprefix('nats://')}")
        services = [name for name in SERVICES if name in wanted]
        for name in services:  # payment's first: the others' roles get rights on its tables there
            await self.migrate(name)
        for name in ("mailbox", "provider"):
            if name in wanted:
                await self._start_component(name)
                self._report(f"{name} on {self.address(name)}")
        await self._start_services(services)

    async def _start_services(self, services: list[str]) -> None:
        """All at once: they wait for what they need."""
        for name in services:
            self._spawn(commands.service(self, name))
        for name in services:
            await self._until_ready(name)
            self._report(f"{name} on {self.address(name)}")

    async def _start_component(self, name: str) -> None:
        if self.is_running(name):
            raise DevstackError(f"{name} is running already")
        if name == "postgres":
            await self._start_postgres()
        elif name == "nats":
            await self._start_nats()
        else:
            self._spawn(commands.component(self, name))
            await self._until_ready(name)

    async def _start_postgres(self) -> None:
        if not self.settings.postgres_url:
            await self._start_embedded_postgres()
        elif not await self.postgres_server.is_ready():
            raise DevstackError("the PostgreSQL of DEVSTACK_POSTGRES_URL can't be reached")

    async def _start_embedded_postgres(self) -> None:
        if await self._installation.prepare(self._supervisor, self._secrets["postgres"]):
            self._forget_what_followed_from_the_database()
        program = self._installation.program(self.port("postgres"), fsync=self.settings.fsync)
        deadline = time.monotonic() + _SHARED_MEMORY_LIMIT
        while not await self._took_over_memory(program, deadline):
            self._report("waiting for the last of a killed PostgreSQL to end")

    async def _took_over_memory(self, program: Program, deadline: float) -> bool:
        """Starts PostgreSQL; False if backends of a killed one still hold its shared memory."""
        self._spawn(program)
        try:
            await self._until_ready("postgres")
        except ProcessFailedError as error:
            if "still in use" not in str(error) or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
            return False
        return True

    def _forget_what_followed_from_the_database(self) -> None:
        """A new database knows nothing of old events, charges and mails: they go too."""
        shutil.rmtree(self._streams, ignore_errors=True)
        shutil.rmtree(self.mail_dir, ignore_errors=True)
        for file in self.directory.glob("provider.sqlite*"):
            file.unlink()

    @property
    def _streams(self) -> Path:
        return self.directory / "nats"

    async def _start_nats(self) -> None:
        if not self.settings.nats_url:
            port = self.port("nats")
            self._spawn(nats_server.program(port, self._streams, self.nats_passwords))
            await self._until_ready("nats")
        elif not await self.nats_login("admin").is_accepted():
            raise DevstackError("the NATS server of DEVSTACK_NATS_URL can't be reached")

    def _spawn(self, program: Program) -> None:
        self._processes[program.name] = self._supervisor.spawn(program)

    async def _until_ready(self, name: str) -> None:
        await self._processes[name].until(self._probe(name), self.settings.start_limit)

    def _probe(self, name: str) -> Callable[[], Awaitable[bool]]:
        match name:
            case "postgres":
                return self.postgres_server.is_ready
            case "nats":
                return self.nats_login("admin").is_accepted
            case "mailbox":
                return partial(smtp_is_greeting, self.smtp_host, self.smtp_port)
            case _:
                return partial(grpc_is_serving, self.address(name))

    def _running(self, name: str) -> Process:
        if not self.is_running(name):
            raise DevstackError(f"{name} is not running")
        return self._processes[name]

    async def _end(self, name: str) -> None:
        process = self._processes.get(name)
        if process is not None:
            await process.terminate()
            self._processes.pop(name, None)


def _remove_all_but(last: Path, directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != last:
            path.unlink()
