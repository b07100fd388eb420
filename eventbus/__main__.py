"""`python -m eventbus apply FILE` creates or updates streams and consumers.

`python -m eventbus new-keys DIRECTORY USER…` creates keys with which users log in.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import BrokerLogin, InvalidBrokerLogin, apply, connect
from eventbus.jetstream.login import VARIABLES
from eventbus.jetstream.nkeys import public_key, seed
from eventbus.topology import Topology, load
from eventbus.unknown_variables import unknown_variables, warning_about
from eventbus.variable_files import SUFFIX

_USAGE = """Usage: python -m eventbus apply FILE [--replicas N]
       python -m eventbus new-keys DIRECTORY USER...

apply creates or updates streams and consumers, as the administrator. Address and login are read
from NATS_URL, NATS_USER and NATS_PASSWORD, or NATS_CREDENTIALS, and from NATS_TLS_ROOTS,
NATS_TLS_CERTIFICATE and NATS_TLS_KEY. A name with _FILE appended, such as NATS_PASSWORD_FILE, names
a file with the value.

--replicas N, or NATS_REPLICAS, is on how many servers of a cluster each stream is stored, instead
of the file's `replicas`. The command ends when all of them have what is stored now.

new-keys creates for each user USER.nk, the secret key, which only the caller can read (for
NATS_CREDENTIALS), and USER.conf, the public key for the configuration of the servers.
"""
_REPLICAS = "NATS_REPLICAS"
_MAX_REPLICAS = 5  # of JetStream


async def _apply(login: BrokerLogin, topology: Topology) -> None:
    client = await connect(login, "eventbus-apply", seconds=30)
    try:
        await apply(client, topology)
    finally:
        await client.close()


def main() -> None:
    """Runs the command; exit status 2 for wrong usage or settings, 1 for any other error."""
    match sys.argv[1:]:
        case ["apply", path]:
            _run(Path(path), os.environ.get(_REPLICAS, ""))
        case ["apply", path, "--replicas", replicas]:
            _run(Path(path), replicas)
        case ["new-keys", directory, *users] if users:
            _create_keys(Path(directory), users)
        case _:
            sys.stderr.write(_USAGE)
            raise SystemExit(2)


def _run(path: Path, replicas: str) -> None:
    known = [f"{name}{suffix}" for suffix in ("", SUFFIX) for name in VARIABLES]
    for found in unknown_variables("NATS_", (*known, _REPLICAS), os.environ):
        sys.stderr.write(f"eventbus: {warning_about(*found)}\n")
    login, topology = _login(), _topology(path)
    if replicas:
        topology = topology.with_replicas(_count(replicas))
    try:
        asyncio.run(_apply(login, topology))
    except (BrokerUnavailable, OSError) as error:
        raise SystemExit(f"eventbus: {error}") from error


def _create_keys(directory: Path, users: Sequence[str]) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for user in users:
            key = Ed25519PrivateKey.generate()
            secret = os.open(directory / f"{user}.nk", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(secret, "w") as file:
                file.write(f"{seed(key)}\n")
            (directory / f"{user}.conf").write_text(f"nkey: {public_key(key)}\n")
    except OSError as error:
        raise SystemExit(f"eventbus: {error}") from error


def _login() -> BrokerLogin:
    try:
        return BrokerLogin.from_environment(os.environ)
    except KeyError as error:
        _refuse(f"environment variable {error} is not set")
    except InvalidBrokerLogin as error:
        names = ", ".join(f"NATS_{name.upper()}" for name in error.arguments)
        _refuse(f"setting {names}: {error}")


def _topology(path: Path) -> Topology:
    try:
        return load(path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        _refuse(f"{path}: {error}")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_REPLICAS):
        _refuse(f"--replicas, {_REPLICAS}: {text!r} is not a number from 1 to {_MAX_REPLICAS}")
    return int(text)


def _refuse(problem: str) -> NoReturn:
    sys.stderr.write(f"eventbus: {problem}\n")
    raise SystemExit(2)


if __name__ == "__main__":
    main()
