"""`python -m eventbus apply FILE` creates or updates streams and consumers."""

import asyncio
import os
import sys
from pathlib import Path

from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import apply, connect
from eventbus.topology import load

_USAGE = """Usage: python -m eventbus apply FILE

Creates or updates streams and consumers, as the administrator. Address and credentials are read
from NATS_URL, NATS_USER and NATS_PASSWORD.
"""


async def _apply(path: Path) -> None:
    url, user, password = (os.environ[f"NATS_{name}"] for name in ("URL", "USER", "PASSWORD"))
    client = await connect(url, user, password, "eventbus-apply", seconds=30)
    try:
        await apply(client, load(path))
    finally:
        await client.close()


def main() -> None:
    """Runs the command; exit status 2 for wrong usage, 1 for any other error."""
    match sys.argv[1:]:
        case ["apply", path]:
            try:
                asyncio.run(_apply(Path(path)))
            except (BrokerUnavailable, OSError) as error:
                raise SystemExit(f"eventbus: {error}") from error
            except KeyError as error:
                raise SystemExit(f"eventbus: environment variable {error} is not set") from error
        case _:
            sys.stderr.write(_USAGE)
            raise SystemExit(2)


if __name__ == "__main__":
    main()
