"""Three nodes of NATS on loopback, with the configuration of deploy/nats and TLS."""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from devstack.commands import PROJECT
from devstack.servers import nats_server
from devstack.servers.nats_server import USERS
from devstack.supervision.ports import LOOPBACK, Port
from devstack.supervision.processes import Process, Program, Supervisor
from eventbus.jetstream import BrokerLogin
from tests.builders.certificates import write_certificate

CONFIGURATION = PROJECT / "deploy" / "nats"
NODES = ("nats-1", "nats-2", "nats-3")
_START_SECONDS = 60.0


class NatsCluster:
    """Three nodes, of which each may be killed and started."""

    def __init__(self, directory: Path, configuration: Path = CONFIGURATION) -> None:
        """`configuration` is a directory with the files of deploy/nats."""
        directory.mkdir()
        self._directory, self._configuration = directory, configuration
        self._supervisor = Supervisor(directory)
        self._processes: dict[str, Process] = {}
        self._ports = {name: Port.claim(0) for name in NODES}
        self._cluster_ports = {name: Port.claim(0) for name in NODES}
        # The server reads a value that looks like a number as one.
        self.passwords = {user: f"s{secrets.token_hex(16)}" for user in USERS}
        self._cluster_password = f"s{secrets.token_hex(16)}"
        self.certificate, self._key, _ = write_certificate(directory)

    @property
    def url(self) -> str:
        """The addresses of all nodes."""
        return ",".join(f"tls://{port.address}" for port in self._ports.values())

    def login(self, user: str) -> BrokerLogin:
        """The login of a user by password."""
        roots = self.certificate
        return BrokerLogin.parse(self.url, user, self.passwords[user], tls_roots=roots)

    def login_by_key(self, credentials: Path) -> BrokerLogin:
        """The login of a user by its key."""
        return BrokerLogin.parse(self.url, credentials=credentials, tls_roots=self.certificate)

    async def start(self) -> None:
        """Starts all nodes, and waits until the administrator finds JetStream."""
        for name in NODES:
            self.spawn(name)
        probe = partial(nats_server.accepts_login, self.login("admin"))
        for process in self._processes.values():
            await process.wait_until_ready(probe, _START_SECONDS)

    def spawn(self, name: str) -> None:
        """Starts a node without waiting for it."""
        executable = nats_server.program(0, self._directory, self.passwords).command[0]
        command = [executable, "--config", str(self._configuration / "cluster-tls.conf")]
        program = Program(
            name=name,
            command=command,
            environment=self._environment(name),
            directory=self._directory,
        )
        self._processes[name] = self._supervisor.spawn(program)

    async def kill(self, *names: str) -> None:
        """Kills nodes."""
        for name in names:
            await self._processes[name].kill()

    async def stop(self) -> None:
        for process in self._processes.values():
            await process.terminate()
        for port in (*self._ports.values(), *self._cluster_ports.values()):
            port.close()

    def _environment(self, name: str) -> Mapping[str, str]:
        others = [
            f"nats://route:{self._cluster_password}@{port.address}"
            for port in self._cluster_ports.values()
        ]
        return {
            "NATS_SERVER_NAME": name,
            "NATS_SERVER_HOST": LOOPBACK,
            "NATS_SERVER_PORT": str(self._ports[name].number),
            "NATS_MONITOR_PORT": "0",
            "NATS_STORE_DIR": json.dumps(str(self._directory / name)),
            "NATS_STORE_LIMIT": "8GB",
            "NATS_CLUSTER_HOST": LOOPBACK,
            "NATS_CLUSTER_PORT": str(self._cluster_ports[name].number),
            "NATS_CLUSTER_PASSWORD": self._cluster_password,
            "NATS_ROUTES": json.dumps(others),
            "NATS_SERVER_TLS_CERTIFICATE": str(self.certificate),
            "NATS_SERVER_TLS_KEY": str(self._key),
            "NATS_SERVER_TLS_ROOTS": str(self.certificate),
            **{f"{user.upper()}_NATS_PASSWORD": self.passwords[user] for user in USERS},
        }


@asynccontextmanager
async def nats_cluster(
    directory: Path, configuration: Path = CONFIGURATION
) -> AsyncIterator[NatsCluster]:
    """A running cluster with the files of a directory like deploy/nats."""
    cluster = NatsCluster(directory, configuration)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()
