"""A complete stack: started in the order of dependencies, stopped in reverse."""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack import commands, data_directory
from devstack.addresses import PAYMENT_INTERNAL, SECRETS
from devstack.components import COMPONENTS, Components
from devstack.errors import DevstackError, ProcessFailedError
from devstack.secret_store import load_secrets
from devstack.servers import nats_server, postgres
from devstack.servers.postgres import SERVICES
from devstack.servers.postgres_installation import Installation
from devstack.settings import Settings
from devstack.supervision.ports import Port
from devstack.supervision.processes import Program

_STEP_SECONDS = 120.0
_SHARED_MEMORY_SECONDS = 15.0
_SHARED_MEMORY_RETRY_SECONDS = 0.2


class Stack(Components):
    """One stack on one data directory."""

    def __init__(
        self,
        data_dir: Path = Path(".dev"),
        settings: Settings | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(data_dir, settings or Settings())
        self._report = report
        self._installation = Installation(self.directory)
        self._resources = ExitStack()

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
        """Starts all components, or one that is not running, and waits until they are ready.

        If the start of all components fails or is cancelled, those already started are stopped.
        """
        if component is None:
            await self.start_only(COMPONENTS)
        else:
            await self._start_component(component)

    async def start_only(self, components: Iterable[str]) -> None:
        """Starts the given components in the right order, with the same guarantee as `start`."""
        try:
            await self._open()
            await self._start_in_order(frozenset(components))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops all components in reverse order, then releases the ports and the directory."""
        with self._resources:
            # The services concurrently: each may use its full grace period.
            await asyncio.gather(*(self._terminate_if_running(name) for name in SERVICES))
            for name in reversed(COMPONENTS):
                await self._terminate_if_running(name)

    async def migrate(self, *services: str) -> None:
        """Migrates services' schemas to the current version, in this order."""
        await self._supervisor.run(commands.migrations(self, services), _STEP_SECONDS)

    async def clean(self) -> None:
        """Terminates the processes that a killed stack left running, and removes all data.

        Does nothing in a directory that no stack has used. Raises AlreadyRunningError.
        """
        secrets = self._secrets_file
        if not secrets.exists():
            return
        with data_directory.exclusive_use(self.directory):
            await self._supervisor.terminate_orphans()
            self._installation.remove()
            data_directory.remove(self.directory, marker=secrets)

    @property
    def _secrets_file(self) -> Path:
        return self.directory / "secrets.json"

    @property
    def _streams_directory(self) -> Path:
        return self.directory / "nats"

    async def _open(self) -> None:
        """Locks the data directory, terminates orphans, and reserves the ports."""
        self._resources.enter_context(data_directory.exclusive_use(self.directory))
        if orphans := await self._supervisor.terminate_orphans():
            self._report(f"terminated processes of a killed stack: {', '.join(orphans)}")
        self._secrets = load_secrets(self._secrets_file, SECRETS)
        self.keys.prepare()
        self._ports = {name: self._claim_port(name) for name in (*COMPONENTS, PAYMENT_INTERNAL)}
        self.write_addresses()

    def _claim_port(self, component: str) -> Port:
        port = Port.claim(self.settings.ports.get(component, 0))
        self._resources.callback(port.close)
        return port

    async def _start_in_order(self, components: frozenset[str]) -> None:
        if "postgres" in components:
            await self._start_postgres()
            server = self.postgres_server
            await postgres.provision(server, self.role_passwords)
            self._report(f"PostgreSQL on {server.url.hosts}")
        if "nats" in components:
            await self._start_nats()
            await self._supervisor.run(commands.topology(self), _STEP_SECONDS)
            self._report(f"NATS on {self.nats_url.removeprefix('nats://')}")
        services = [name for name in SERVICES if name in components]
        if services:  # payment first: its migrations grant the other roles their rights
            await self.migrate(*services)
        for name in ("mailbox", "provider"):
            if name in components:
                await self._start_component(name)
                self._report(f"{name} on {self.address(name)}")
        await self._start_services(services)

    async def _start_services(self, services: list[str]) -> None:
        """Starts them concurrently: each waits for its dependencies."""
        for name in services:
            self._spawn(commands.service(self, name))
        for name in services:
            await self._wait_until_ready(name)
            self._report(f"{name} on {self.address(name)}")

    async def _start_component(self, component: str) -> None:
        if self.is_running(component):
            raise DevstackError(f"{component} is already running")
        if component == "postgres":
            await self._start_postgres()
        elif component == "nats":
            await self._start_nats()
        else:
            self._spawn(commands.component(self, component))
            await self._wait_until_ready(component)

    async def _start_postgres(self) -> None:
        if not self.settings.postgres_url:
            await self._start_embedded_postgres()
        else:
            await self.postgres_server.check_login()

    async def _start_embedded_postgres(self) -> None:
        if await self._installation.prepare(self._supervisor, self._secrets["postgres"]):
            self._remove_data_of_previous_database()
        program = self._installation.program(self.port("postgres"), fsync=self.settings.fsync)
        deadline = time.monotonic() + _SHARED_MEMORY_SECONDS
        while not await self._try_start_postgres(program, deadline):
            self._report("waiting for the shared memory of a killed PostgreSQL")
            await asyncio.sleep(_SHARED_MEMORY_RETRY_SECONDS)

    async def _try_start_postgres(self, program: Program, deadline: float) -> bool:
        """False if backends of a killed PostgreSQL still use the shared memory.

        Raises ProcessFailedError for any other failure, and also for this one after `deadline`.
        """
        self._spawn(program)
        try:
            await self._wait_until_ready("postgres")
        except ProcessFailedError as error:
            if "still in use" not in str(error) or time.monotonic() > deadline:
                raise
            return False
        return True

    def _remove_data_of_previous_database(self) -> None:
        """Removes events, mails and charges that do not belong to the new, empty database."""
        shutil.rmtree(self._streams_directory, ignore_errors=True)
        shutil.rmtree(self.mail_dir, ignore_errors=True)
        for file in self.directory.glob("provider.sqlite*"):
            file.unlink()

    async def _start_nats(self) -> None:
        if not self.settings.nats:
            port = self.port("nats")
            self._spawn(nats_server.program(port, self._streams_directory, self.nats_passwords))
            await self._wait_until_ready("nats")
        else:
            await nats_server.check_login(self.settings.nats)
