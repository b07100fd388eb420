"""What a process tells its operators in numbers, for Prometheus to fetch over HTTP.

The bus never stops silently: the age of the oldest unpublished row and of the oldest unhandled
message are among them. The numbers are looked up every few seconds, not for every scrape, so that
scraping costs the database nothing.
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


class Metrics:
    """The metrics of one process, and the port on which they are told."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._server: tuple[WSGIServer, Thread] | None = None

    def gauge(self, name: str, what: str, *labels: str) -> Gauge:
        """A number that goes up and down."""
        return Gauge(name, what, labels, registry=self.registry)

    def listen(self, address: str) -> None:
        """Answers on `host:port`, or nowhere if it is empty; raises PortTaken."""
        if not address:
            return
        host, _, port = address.rpartition(":")
        try:
            self._server = start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            raise PortTaken(f"cannot listen on {address}: {error}") from error
        _log.info("metrics", address=f"{host}:{self._server[0].server_port}")

    def close(self) -> None:
        """Answers no more."""
        if self._server:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()


class BusMetrics:
    """The numbers of a service's part of the bus."""

    def __init__(
        self,
        metrics: Metrics,
        engine: AsyncEngine,
        tables: BusTables,
        consumers: Sequence[Consumer],
    ) -> None:
        self._engine, self._tables, self._consumers = engine, tables, consumers
        self._outbox = {
            "rows": metrics.gauge("outbox_unpublished", "events not published yet"),
            "age": metrics.gauge("outbox_oldest_age_seconds", "age of the oldest of them"),
            "parked": metrics.gauge("outbox_parked", "events that wait for an operator"),
        }
        self._consumer = {
            name: metrics.gauge(f"consumer_{name}", what, "stream", "consumer")
            for name, what in {
                "pending": "messages not delivered yet",
                "unacknowledged": "messages delivered and not acknowledged yet",
                "oldest_age_seconds": "age of the oldest of either",
                "dead_letters": "dead letters that wait for a decision",
            }.items()
        }

    async def update(self) -> None:
        """Reads the current numbers; raises what the database raises."""
        dead_letters = DeadLetterStore(self._tables)
        async with self._engine.connect() as connection:
            waiting = await backlog(connection, self._tables)
            dead = {
                consumer.name: await dead_letters.count_open(connection, consumer.name)
                for consumer in self._consumers
            }
        self._outbox["rows"].set(waiting.count)
        self._outbox["age"].set(waiting.oldest_age_seconds)
        self._outbox["parked"].set(waiting.parked)
        for consumer in self._consumers:
            self._set(consumer, await _numbers(consumer) | {"dead_letters": dead[consumer.name]})

    def _set(self, consumer: Consumer, numbers: Mapping[str, float]) -> None:
        for name, number in numbers.items():
            self._consumer[name].labels(consumer.source.stream, consumer.name).set(number)


async def _numbers(consumer: Consumer) -> dict[str, float]:
    """How far a consumer is behind; what the broker doesn't tell now stays as it was."""
    try:
        lag = await consumer.source.lag()
        age = await consumer.source.oldest_unhandled_age(lag)
    except BrokerUnavailable:
        return {}
    return {
        "pending": lag.pending,
        "unacknowledged": lag.unacknowledged,
        "oldest_age_seconds": age,
    }
