"""The metrics of a service's outbox, relay and consumers.

The ages of the oldest unpublished and of the oldest unhandled event show that the bus never stops
silently.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus import BusTables, Consumer, Relay
from eventbus.broker import BrokerUnavailable
from eventbus.dead_letters.store import DeadLetterStore
from eventbus.outbox import backlog
from runtime.metrics.registry import Count, Metrics

_CONSUMER_GAUGES = {
    "pending_messages": "Messages that are not delivered yet.",
    "unacknowledged_messages": "Messages that are delivered and not acknowledged yet.",
    "oldest_message_age_seconds": "Age of the oldest message that is not acknowledged.",
    "dead_letters": "Dead letters that wait for an operator.",
    "paused": "1 while the durable consumer is paused at the broker, else 0.",
}
_CONSUMER_COUNTS = {
    "handled": "Events that were handled for the first time, in a transaction that committed.",
    "duplicates": "Deliveries of events that had been handled before.",
    "failures": "Attempts to handle an event that failed.",
    "redeliveries": "Messages that were delivered again.",
    "dead_letters_stored": "Dead letters that were stored.",
}


class BusMetrics:
    """What is read from the database and the broker every few seconds, and what is counted."""

    def __init__(
        self,
        metrics: Metrics,
        engine: AsyncEngine,
        tables: BusTables,
        relay: Relay,
        consumers: Sequence[Consumer],
    ) -> None:
        self._engine, self._tables, self._consumers = engine, tables, consumers
        self._unpublished = metrics.gauge(
            "outbox_unpublished_events", "Events that are not published yet."
        )
        self._age = metrics.gauge(
            "outbox_oldest_event_age_seconds", "Age of the oldest unpublished event."
        )
        self._parked = metrics.gauge("outbox_parked_events", "Events that wait for an operator.")
        self._gauges = {
            name: metrics.gauge(f"consumer_{name}", description, "stream", "consumer")
            for name, description in _CONSUMER_GAUGES.items()
        }
        metrics.counter_of(
            "relay_published_events",
            "Events that the broker confirmed, watermarks not included.",
            [],
            lambda: [((), relay.counts.published)],
        )
        metrics.gauge_of(
            "relay_failing",
            "1 while the relay cannot publish or read the outbox, else 0.",
            lambda: float(bool(relay.current_error)),
        )
        for name, description in _CONSUMER_COUNTS.items():
            metrics.counter_of(
                f"consumer_{name}",
                description,
                ["stream", "consumer"],
                partial(self._counts, name),
            )

    def _counts(self, name: str) -> Iterable[Count]:
        for consumer in self._consumers:
            yield _labels(consumer), getattr(consumer.counts, name)

    async def update(self) -> None:
        """Reads the current values; raises the database's errors."""
        dead_letters = DeadLetterStore(self._tables)
        async with self._engine.connect() as connection:
            unpublished = await backlog(connection, self._tables)
            dead = {
                consumer.name: await dead_letters.count_open(connection, consumer.name)
                for consumer in self._consumers
            }
        self._unpublished.set(unpublished.count)
        self._age.set(unpublished.oldest_age_seconds)
        self._parked.set(unpublished.parked)
        for consumer in self._consumers:
            self._set(consumer, await _numbers(consumer) | {"dead_letters": dead[consumer.name]})

    def _set(self, consumer: Consumer, numbers: Mapping[str, float]) -> None:
        for name, number in numbers.items():
            self._gauges[name].labels(*_labels(consumer)).set(number)


def _labels(consumer: Consumer) -> tuple[str, str]:
    return consumer.pull_consumer.stream, consumer.name


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
