"""The limit of the relay: atomic batches of events in memory, without a database."""

import json
import os
import sys
import time
import uuid
from collections.abc import Sequence

import nats
import uvloop
from nats.aio.client import Client

from bench.seed import paid_orders
from eventbus import Event

_BATCH = 500


async def publish(client: Client, events: Sequence[Event]) -> None:
    """Publishes events in atomic batches, one after the other."""
    for start in range(0, len(events), _BATCH):
        batch, batch_id = events[start : start + _BATCH], uuid.uuid4().hex
        for sequence, event in enumerate(batch, start=1):
            headers = {
                **event.headers(),
                "Nats-Batch-Id": batch_id,
                "Nats-Batch-Sequence": str(sequence),
            }
            if sequence < len(batch):
                await client.publish(event.subject, event.data, headers=headers)
                continue
            headers["Nats-Batch-Commit"] = "1"
            reply = await client.request(event.subject, event.data, timeout=10, headers=headers)
            if error := json.loads(reply.data).get("error"):
                raise RuntimeError(f"batch refused: {error}")


async def _run(count: int) -> float:
    client = await nats.connect(
        os.environ["PAYMENT_NATS_URL"],
        user=os.environ["PAYMENT_NATS_USER"],
        password=os.environ["PAYMENT_NATS_PASSWORD"],
        inbox_prefix=b"_INBOX_payment",
    )
    events = [order.event() for order in paid_orders(count)]
    started = time.perf_counter()
    await publish(client, events)
    seconds = time.perf_counter() - started
    await client.close()
    return seconds


if __name__ == "__main__":
    print(json.dumps({"seconds": uvloop.run(_run(int(sys.argv[1])))}))  # noqa: T201
