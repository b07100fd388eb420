"""What a service tells Prometheus."""

import asyncio
import urllib.request
from collections.abc import Mapping

from tests.system.drivers.running_stack import RunningStack


async def numbers(outside: RunningStack, service: str) -> Mapping[str, float]:
    """The metrics of a service, each by its name and labels."""
    *_, told = outside.log_lines(service, event="metrics")
    return await asyncio.to_thread(_fetch, f"http://{told['address']}/metrics")


def _fetch(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310  our own process
        lines = reply.read().decode().splitlines()
    found = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(number) for name, number in found}
