"""Metrics in the format of Prometheus, served over HTTP.

Names begin with `mockinterview_`. The ages of the oldest unpublished and of the oldest unhandled
event show that the bus never stops silently. Values are updated every few seconds, not per scrape,
so that scraping costs the database nothing.
"""

from collections.abc import Mapping, Sequence
from threading import Thread
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus import BusTables, Consumer
from eventbus.broker import BrokerUnavailable
from eventbus.dead_letters.store import DeadLetterStore
from eventbus.outbox import backlog
from runtime.rpc.server import PortTaken

_log = structlog.get_logger(__name__)
PREFIX = "mockinterview"
# The interval at which gauges are updated.
METRICS_SECONDS = 5.0


class Metrics:
    """The metrics of one process and the server that exposes them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._server: tuple[WSGIServer, Thread] | None = None

    def gauge(self, name: str, description: str, *labels: str) -> Gauge:
        """A new gauge; the name gets the common prefix."""
        return Gauge(f"{PREFIX}_{name}", description, labels, registry=self.registry)

    def listen(self, address: str) -> None:
        """Serves on `host:port`; empty: not at all. Raises PortTaken."""
        if not address:
            return
        host, _, port = address.rpartition(":")
        try:
            self._server = start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            raise PortTaken(f"cannot listen on {address}: {error}") from error
        _log.info("metrics server started", address=f"{host}:{self._server[0].server_port}")

    def close(self) -> None:
        """Stops the server."""
        if self._server:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()


class BusMetrics:
    """The metrics of a service's outbox and consumers."""

    def __init__(
        self,
        metrics: Metrics,
        engine: AsyncEngine,
        tables: BusTables,
        consumers: Sequence[Consumer],
    ) -> None:
        self._engine, self._tables, self._consumers = engine, tables, consumers
        self._outbox = {
            "rows": metrics.gauge("outbox_unpublished_events", "events that are not published yet"),
            "age": metrics.gauge(
                "outbox_oldest_event_age_seconds", "age of the oldest unpublished event"
            ),
            "parked": metrics.gauge("outbox_parked_events", "events that wait for an operator"),
        }
        self._consumer = {
            name: metrics.gauge(f"consumer_{name}", description, "stream", "consumer")
            for name, description in {
                "pending_messages": "messages that are not delivered yet",
                "unacknowledged_messages": "messages that are delivered and not acknowledged yet",
                "oldest_message_age_seconds": "age of the oldest unacknowledged message",
                "dead_letters": "dead letters that wait for an operator",
                "paused": "1 while the durable consumer is paused at the broker, else 0",
            }.items()
        }

    async def update(self) -> None:
        """Reads the current values; raises the database's errors."""
        dead_letters = DeadLetterStore(self._tables)
        async with self._engine.connect() as connection:
            unpublished = await backlog(connection, self._tables)
            dead = {
                consumer.name: await dead_letters.count_open(connection, consumer.name)
                for consumer in self._consumers
            }
        self._outbox["rows"].set(unpublished.count)
        self._outbox["age"].set(unpublished.oldest_age_seconds)
        self._outbox["parked"].set(unpublished.parked)
        for consumer in self._consumers:
            self._set(consumer, await _numbers(consumer) | {"dead_letters": dead[consumer.name]})

    def _set(self, consumer: Consumer, numbers: Mapping[str, float]) -> None:
        for name, number in numbers.items():
            self._consumer[name].labels(consumer.pull_consumer.stream, consumer.name).set(number)


async def _numbers(consumer: Consumer) -> dict[str, float]:
    """A consumer's lag; without the broker the values stay as they were."""
    try:
        lag = await consumer.pull_consumer.lag()
        age = await consumer.pull_consumer.oldest_unhandled_age(lag)
    except BrokerUnavailable:
        return {}
    return {
        "pending_messages": lag.pending,
        "unacknowledged_messages": lag.unacknowledged,
        "oldest_message_age_seconds": age,
        "paused": float(lag.paused_until is not None),
    }
