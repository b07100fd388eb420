"""The peer of the consumer: FastStream with the same effect per message and no inbox logic."""

import asyncio
import json
import os
import sys
import time

import asyncpg
import uvloop
from faststream import FastStream
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.js.api import ConsumerConfig

from bench.subjects.session_inserts import database_url, insert


async def _handle(count: int) -> float:
    broker = NatsBroker(os.environ["NATS_URL"], logger=None)
    done, remaining = asyncio.Event(), count
    pool = await asyncpg.create_pool(database_url(), min_size=4, max_size=4)

    async def handle(_body: bytes, message: NatsMessage) -> None:
        nonlocal remaining
        raw = message.raw_message
        async with pool.acquire() as connection:
            event_id = (raw.headers or {})["ce-id"]
            delivery = (event_id, raw.metadata.sequence.stream, raw.data)
            await insert(connection, [delivery])
        remaining -= 1
        if not remaining:
            done.set()

    subscriber = broker.subscriber(
        "payment.v1.PaymentCompleted.*",
        # Not declared: that would reset the stream's settings, atomic batches among them.
        stream=JStream("PAYMENT", declare=False),
        durable="faststream",
        pull_sub=PullSub(batch_size=200),
        config=ConsumerConfig(ack_wait=60, max_ack_pending=2000),
        max_workers=4,
    )
    subscriber(handle)
    app = FastStream(broker, logger=None)
    started = time.perf_counter()
    running = asyncio.create_task(app.run())
    await done.wait()
    seconds = time.perf_counter() - started
    app.exit()
    await running
    await pool.close()
    return seconds


if __name__ == "__main__":
    print(json.dumps({"seconds": uvloop.run(_handle(int(sys.argv[1])))}))  # noqa: T201
