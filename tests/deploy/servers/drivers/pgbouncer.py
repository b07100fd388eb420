"""Debian's PgBouncer in front of a stack's PostgreSQL."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from devstack.servers.postgres import DATABASE, PostgresUnreachable, Server
from devstack.stack import Stack
from devstack.supervision.ports import LOOPBACK, Port
from devstack.supervision.processes import Program, Supervisor
from runtime.database_url import DatabaseUrl

Mode = Literal["session", "transaction"]
_START_SECONDS = 20.0
_CONFIGURATION = """
[databases]
{database} = host={host} port={postgres_port}

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {mode}
default_pool_size = {pool_size}
max_client_conn = 500
"""


@dataclass(frozen=True)
class PgBouncer:
    """A running pooler."""

    stack: Stack
    port: Port

    def url(self, role: str) -> str:
        """The URL of one of the stack's roles, such as `payment_runtime`."""
        password = self.stack.role_passwords[role]
        url = DatabaseUrl("", self.port.address, DATABASE, {}).with_login(role, password)
        return str(url)


@asynccontextmanager
async def running_pgbouncer(
    stack: Stack, directory: Path, mode: Mode, pool_size: int
) -> AsyncIterator[PgBouncer]:
    """A pooler with `pool_size` connections to the server for each role."""
    executable = shutil.which("pgbouncer")
    if executable is None:
        pytest.skip("pgbouncer is not installed: Debian's package `pgbouncer`")
    port = Port.claim(0)
    configuration = _write_configuration(stack, directory, port, mode, pool_size)
    user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
    command = [executable, *user, str(configuration)]
    program = Program(name=f"pgbouncer-{mode}", command=command, directory=directory)
    process = Supervisor(directory).spawn(program)
    bouncer = PgBouncer(stack, port)
    server = Server(DatabaseUrl.parse(bouncer.url("payment_runtime")))

    async def is_ready() -> bool:
        try:
            connection = await server.connect(DATABASE)
        except (PostgresUnreachable, OSError):
            return False
        await connection.close()
        return True

    try:
        await process.wait_until_ready(is_ready, _START_SECONDS)
        yield bouncer
    finally:
        await process.terminate()
        port.close()


def _write_configuration(
    stack: Stack, directory: Path, port: Port, mode: Mode, pool_size: int
) -> Path:
    directory.mkdir()
    users = directory / "users.txt"
    users.write_text("".join(f'"{u}" "{p}"\n' for u, p in stack.role_passwords.items()))
    text = _CONFIGURATION.format(
        database=DATABASE,
        host=LOOPBACK,
        postgres_port=stack.port("postgres"),
        port=port.number,
        users=users,
        mode=mode,
        pool_size=pool_size,
    )
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(text)
    return configuration
