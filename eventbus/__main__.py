"""`python -m eventbus apply FILE` creates or updates streams and consumers."""

import asyncio
import os
import sys
from pathlib import Path
from typing import NoReturn

from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import BrokerLogin, InvalidBrokerLogin, apply, connect
from eventbus.jetstream.login import VARIABLES
from eventbus.topology import Topology, load
from eventbus.unknown_variables import unknown_variables, warning_about
from eventbus.variable_files import SUFFIX

_USAGE = """Usage: python -m eventbus apply FILE

Creates or updates streams and consumers, as the administrator. Address and login are read from
NATS_URL, NATS_USER and NATS_PASSWORD, or NATS_CREDENTIALS, and from NATS_TLS_ROOTS,
NATS_TLS_CERTIFICATE and NATS_TLS_KEY. A name with _FILE appended, such as NATS_PASSWORD_FILE, names
a file with the value.
"""


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
            known = [f"{name}{suffix}" for suffix in ("", SUFFIX) for name in VARIABLES]
            for found in unknown_variables("NATS_", known, os.environ):
                sys.stderr.write(f"eventbus: {warning_about(*found)}\n")
            try:
                login = BrokerLogin.from_environment(os.environ)
            except KeyError as error:
                _refuse(f"environment variable {error} is not set")
            except InvalidBrokerLogin as error:
                names = ", ".join(f"NATS_{name.upper()}" for name in error.arguments)
                _refuse(f"setting {names}: {error}")
            try:
                topology = load(Path(path))
            except (OSError, KeyError, TypeError, ValueError) as error:
                _refuse(f"{path}: {error}")
            try:
                asyncio.run(_apply(login, topology))
            except (BrokerUnavailable, OSError) as error:
                raise SystemExit(f"eventbus: {error}") from error
        case _:
            sys.stderr.write(_USAGE)
            raise SystemExit(2)


def _refuse(problem: str) -> NoReturn:
    sys.stderr.write(f"eventbus: {problem}\n")
    raise SystemExit(2)


if __name__ == "__main__":
    main()
