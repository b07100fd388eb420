"""interview's consumer with its settings: handles a number of events, then ends."""

import json
import sys
import time
from collections.abc import Sequence

import uvloop

from eventbus import Consumer, IncomingEvent
from interview_svc import question_bank
from interview_svc.config import InterviewSettings
from interview_svc.domain.session_factory import SessionFactory
from interview_svc.event_handlers import handler_registry
from interview_svc.storage.tables import bus
from runtime import logging
from runtime.database.engine import create_engine
from runtime.ids import new_id
from runtime.settings import read


async def _handle(count: int) -> float:
    config = read(InterviewSettings)
    logging.configure("interview", config.log_level, config.log_format)
    engine, broker = create_engine(config, "interview"), config.create_broker("interview")
    broker.open()
    remaining = count

    def after_commit(handled: Sequence[IncomingEvent]) -> None:
        nonlocal remaining
        remaining -= len(handled)
        if remaining <= 0:
            consumer.stop()

    registry = handler_registry(SessionFactory(question_bank.load(), lambda: new_id("ses")))
    pull = broker.pull_consumer("PAYMENT", "interview")
    consumer = Consumer(engine, bus, pull, registry, config.consumer(), after_commit)
    started = time.perf_counter()
    await consumer.run()
    seconds = time.perf_counter() - started
    await broker.close()
    await engine.dispose()
    return seconds


if __name__ == "__main__":
    print(json.dumps({"seconds": uvloop.run(_handle(int(sys.argv[1])))}))  # noqa: T201
