"""The running components of a stack: started, signalled and stopped one by one."""

import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from devstack.addresses import Addresses
from devstack.errors import DevstackError
from devstack.servers import nats_server
from devstack.servers.postgres import SERVICES
from devstack.settings import Settings
from devstack.supervision.probes import grpc_is_serving, smtp_is_greeting
from devstack.supervision.processes import Process, Program, Supervisor

COMPONENTS = ("postgres", "nats", "mailbox", "provider", *SERVICES)
"""In the order of their start."""


class Components(Addresses):
    """The processes of a stack's components.

    Start components from a thread that lives as long as they do, such as the main thread: on Linux
    they end with the thread that started them.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        super().__init__(directory, settings)
        self._supervisor = Supervisor(self.directory)
        self._processes: dict[str, Process] = {}

    async def terminate(self, component: str) -> int | None:
        """Stops one component and returns its exit status; kills it if it does not stop in time."""
        process = self._running(component)
        await self._terminate_if_running(component)
        return process.exit_status

    async def kill(self, component: str) -> None:
        """Sends SIGKILL and waits for the exit."""
        await self._running(component).kill()
        del self._processes[component]

    def suspend(self, component: str) -> None:
        """Sends SIGSTOP: the component keeps its connections and answers no request."""
        self._running(component).signal(signal.SIGSTOP)

    def resume(self, component: str) -> None:
        """Sends SIGCONT."""
        self._running(component).signal(signal.SIGCONT)

    def pid(self, component: str) -> int:
        return self._running(component).pid

    def is_running(self, component: str) -> bool:
        process = self._processes.get(component)
        return process is not None and process.exit_status is None

    def exited(self) -> dict[str, int]:
        """Exit status of each component that exited without a request."""
        statuses = {name: process.exit_status for name, process in self._processes.items()}
        return {name: status for name, status in statuses.items() if status is not None}

    def _spawn(self, program: Program) -> None:
        self._processes[program.name] = self._supervisor.spawn(program)

    async def _wait_until_ready(self, component: str) -> None:
        process = self._processes[component]
        await process.wait_until_ready(self._probe(component), self.settings.start_seconds)

    def _probe(self, component: str) -> Callable[[], Awaitable[bool]]:
        match component:
            case "postgres":
                return self.postgres_server.is_ready
            case "nats":
                return partial(nats_server.accepts_login, self.nats_login("admin"))
            case "mailbox":
                return partial(smtp_is_greeting, self.smtp_host, self.smtp_port)
            case _:
                return partial(grpc_is_serving, self.address(component), self.tls_roots(component))

    def _running(self, component: str) -> Process:
        if not self.is_running(component):
            raise DevstackError(f"{component} is not running")
        return self._processes[component]

    async def _terminate_if_running(self, component: str) -> None:
        process = self._processes.get(component)
        if process is not None:
            await process.terminate()
            self._processes.pop(component, None)
