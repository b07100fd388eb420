"""The limit of the consumer: a loop that fetches batches, inserts by plain SQL, acknowledges."""

import json
import os
import sys
import time

import asyncpg
import nats
import uvloop

from bench.subjects.session_inserts import database_url, insert

_BATCH = 200


async def _handle(count: int) -> float:
    client = await nats.connect(
        os.environ["INTERVIEW_NATS_URL"],
        user=os.environ["INTERVIEW_NATS_USER"],
        password=os.environ["INTERVIEW_NATS_PASSWORD"],
        inbox_prefix=b"_INBOX_interview",
    )
    pull = await client.jetstream().pull_subscribe_bind(durable="interview", stream="PAYMENT")
    connection = await asyncpg.connect(database_url())
    started = time.perf_counter()
    while count > 0:
        messages = await pull.fetch(min(_BATCH, count), timeout=5)
        deliveries = [
            ((message.headers or {})["ce-id"], message.metadata.sequence.stream, message.data)
            for message in messages
        ]
        await insert(connection, deliveries)
        for message in messages:
            await message.ack()
        count -= len(messages)
    await client.flush()
    seconds = time.perf_counter() - started
    await connection.close()
    await client.close()
    return seconds


if __name__ == "__main__":
    print(json.dumps({"seconds": uvloop.run(_handle(int(sys.argv[1])))}))  # noqa: T201
