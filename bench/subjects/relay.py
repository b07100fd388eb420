"""The relay with payment's settings: publishes what is in the outbox, then ends."""

import json
import time

import uvloop

from eventbus import Relay
from payment_svc.config import PaymentSettings
from payment_svc.storage.tables import bus
from runtime import logging
from runtime.database.engine import create_engine
from runtime.settings import read


async def _publish_all() -> float:
    config = read(PaymentSettings)
    logging.configure("payment", config.log_level, config.log_format)
    engine, broker = create_engine(config, "payment"), config.create_broker("payment")
    broker.open()
    relay = Relay(engine, bus, broker, config.relay())
    relay.stop()  # it publishes all before it ends
    started = time.perf_counter()
    await relay.run()
    seconds = time.perf_counter() - started
    await broker.close()
    await engine.dispose()
    return seconds


if __name__ == "__main__":
    print(json.dumps({"seconds": uvloop.run(_publish_all())}))  # noqa: T201
