"""The metrics of a service, as Prometheus scrapes them."""

import asyncio
import urllib.request
from collections.abc import Mapping

from tests.system.drivers.running_stack import RunningStack


async def scrape_metrics(stack: RunningStack, service: str) -> Mapping[str, float]:
    """A service's metrics by name and labels, such as 'consumer_pending{stream="PAYMENT"}'."""
    entries = await stack.wait_for_log_entries(service, event="metrics server started")
    return await asyncio.to_thread(_scrape, f"http://{entries[-1]['address']}/metrics")


def _scrape(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310  our own process
        lines = reply.read().decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in samples}
