"""The metrics of a service, as Prometheus scrapes them."""

import asyncio
import urllib.request
from collections.abc import Mapping

from tests.system.drivers.running_stack import RunningStack


async def scrape_metrics(stack: RunningStack, service: str) -> Mapping[str, float]:
    """A service's metrics by name and labels, such as 'consumer_pending{stream="PAYMENT"}'."""
    lines = (await scrape_text(stack, service)).splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in samples}


async def scrape_text(stack: RunningStack, service: str, path: str = "/metrics") -> str:
    """What the service's HTTP server replies to a path."""
    entries = await stack.wait_for_log_entries(service, event="metrics server started")
    return await asyncio.to_thread(_get, f"http://{entries[-1]['address']}{path}")


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310  our own process
        return str(reply.read().decode())
