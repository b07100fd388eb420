"""What a process tells its operators in numbers."""

import asyncio
import urllib.request

from devstack.waiting import eventually
from tests.system.outside import Outside

_DEAD = 'consumer_dead_letters{consumer="interview",stream="PAYMENT"}'


def _fetch(url: str) -> dict[str, str]:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310  our own process
        lines = reply.read().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


async def test_prometheus_is_told_how_the_bus_stands(calm: Outside) -> None:
    """Ages and counts are there to be fetched, without a token, where the settings say."""
    await calm.prepared()
    *_, told = calm.log_lines("interview", event="metrics")

    async def look() -> dict[str, str] | None:
        found = await asyncio.to_thread(_fetch, f"http://{told['address']}/metrics")
        return found if _DEAD in found else None

    numbers = await eventually(look, "the consumer's metrics")
    assert float(numbers[_DEAD]) >= 0
    assert float(numbers["outbox_unpublished"]) >= 0
    assert float(numbers["outbox_oldest_age_seconds"]) >= 0
    assert float(numbers['consumer_pending{consumer="interview",stream="PAYMENT"}']) >= 0
    assert float(numbers['consumer_oldest_age_seconds{consumer="interview",stream="PAYMENT"}']) >= 0
