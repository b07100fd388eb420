"""Two PostgreSQL servers: a primary and its synchronous standby, which can change their roles."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devstack.polling import wait_until
from devstack.servers.postgres import SUPERUSER, Server
from devstack.servers.postgres_installation import Installation
from devstack.supervision.ports import LOOPBACK, Port
from devstack.supervision.processes import Process, Program, Supervisor
from runtime.database_url import DatabaseUrl

_STEP_SECONDS = 60.0
_SYNCHRONOUS = "ALTER SYSTEM SET synchronous_standby_names = '*'"
# pg_rewind reads it from where the servers diverged.
_KEEP_LOG = "ALTER SYSTEM SET wal_keep_size = '1GB'"
_RELOAD = "SELECT pg_reload_conf()"
# What the other server replays of the writes that were committed here.
_IS_REPLAYED = """
SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                   WHERE usename LIKE '%_runtime' AND backend_xid IS NOT NULL)
   AND replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication
"""


@dataclass
class Node:
    """One server with a data directory of its own."""

    directory: Path
    password: str
    port: Port = field(default_factory=lambda: Port.claim(0))
    process: Process | None = None

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True)
        self.installation = Installation(self.directory)
        self.supervisor = Supervisor(self.directory)
        attributes = {"target_session_attrs": "any"}  # also as a standby
        url = DatabaseUrl("", self.port.address, "postgres", attributes)
        self.server = Server(url.with_login(SUPERUSER, self.password))

    async def start(self) -> None:
        """Starts it with the role that its data directory has."""
        self.process = self.supervisor.spawn(
            self.installation.program(self.port.number, fsync=True)
        )
        await self.process.wait_until_ready(self.server.is_ready, _STEP_SECONDS)

    async def execute(self, *statements: str) -> None:
        """Executes statements as the superuser, each in a transaction of its own."""
        connection = await self.server.connect("postgres")
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def is_true(self, query: str) -> bool:
        """The single value that the superuser reads; False without a row."""
        connection = await self.server.connect("postgres")
        try:
            return bool(await connection.fetchval(query))
        finally:
            await connection.close()

    async def wait_until_true(self, query: str) -> None:
        """Waits until a query's single value is true."""

        async def check() -> bool:
            return await self.is_true(query)

        await wait_until(check, f"{query} on {self.directory.name}", _STEP_SECONDS)

    async def run(self, program: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs as the user of the data directory."""
        home = self.installation._home()
        command = [str(self.installation._binaries(home) / program), *arguments]
        await self.supervisor.run(
            Program(
                name=program,
                command=command,
                environment={"PGPASSWORD": self.password},
                directory=home,
                user=self.installation._user(),
            ),
            _STEP_SECONDS,
        )

    @property
    def data(self) -> Path:
        return self.installation._home() / "data"

    async def stop(self) -> None:
        if self.process:
            await self.process.terminate()


class ReplicatedPostgres:
    """The servers `nodes`; `primary` is the one that accepts writes."""

    def __init__(self, directory: Path) -> None:
        password = secrets.token_hex(16)
        self.nodes = [Node(directory / name, password) for name in ("first", "second")]
        self.primary, self.standby = self.nodes

    @property
    def url(self) -> DatabaseUrl:
        """The superuser's URL with both hosts, always in the same order."""
        hosts = ",".join(node.port.address for node in self.nodes)
        return DatabaseUrl("", hosts, "postgres", {}).with_login(SUPERUSER, self.primary.password)

    async def start(self) -> None:
        primary, standby = self.primary, self.standby
        await primary.installation.prepare(primary.supervisor, primary.password)
        await primary.start()
        await primary.execute(_KEEP_LOG, _RELOAD)
        source = ["-h", LOOPBACK, "-p", str(primary.port.number), "-U", SUPERUSER]
        await standby.run("pg_basebackup", *source, "-D", str(standby.data), "-R", "-c", "fast")
        await standby.start()
        await self._replicate()

    async def fail_over(self) -> None:
        """Kills the primary and promotes the standby."""
        assert self.primary.process
        await self.primary.process.kill()
        await self._promote()

    async def rejoin(self) -> None:
        """Starts the old primary, which was killed, as a standby of the new one."""
        address = f"host={LOOPBACK} port={self.primary.port.number} user={SUPERUSER}"
        source = f"{address} password={self.primary.password} dbname=postgres"
        target = ["-D", str(self.standby.data), "-R", "--source-server", source]
        await self.standby.run("pg_rewind", *target)
        await self.standby.start()
        await self._replicate()

    async def switch_over(self) -> None:
        """Makes the primary refuse writes, with all its sessions, and promotes the standby."""
        await self.primary.execute("ALTER SYSTEM SET default_transaction_read_only = on", _RELOAD)
        await self.primary.wait_until_true(_IS_REPLAYED)
        await self._promote()

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()
            node.installation.remove()
            node.port.close()

    async def _promote(self) -> None:
        await self.standby.execute("SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary

    async def _replicate(self) -> None:
        """Waits for the standby, and makes each commit wait for it from now on."""
        is_streaming = "SELECT state = 'streaming' FROM pg_stat_replication"
        await self.primary.wait_until_true(is_streaming)
        await self.primary.execute(_SYNCHRONOUS, _RELOAD)
        is_synchronous = "SELECT sync_state IN ('sync', 'quorum') FROM pg_stat_replication"
        await self.primary.wait_until_true(is_synchronous)


@asynccontextmanager
async def replicated_postgres(directory: Path) -> AsyncIterator[ReplicatedPostgres]:
    """A running primary with a synchronous standby."""
    servers = ReplicatedPostgres(directory)
    try:
        await servers.start()
        yield servers
    finally:
        await servers.stop()
