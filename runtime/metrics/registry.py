"""The registry of a process's metrics.

Names begin with `mockinterview_`. Values that need a query are updated every few seconds, not per
scrape, so that scraping costs the database nothing; counters are read when they are scraped.
"""

from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

# Otherwise each counter has a second series, with the time of its creation.
disable_created_metrics()  # type: ignore[no-untyped-call]
PREFIX = "mockinterview"
# The interval at which gauges are updated.
METRICS_SECONDS = 5.0
Count = tuple[tuple[str, ...], float]
"""The values of a counter's labels, and the count."""


class Metrics:
    """The metrics of one process. Every name gets the common prefix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def gauge(self, name: str, description: str, *labels: str) -> Gauge:
        """A new gauge."""
        return Gauge(f"{PREFIX}_{name}", description, labels, registry=self.registry)

    def gauge_of(self, name: str, description: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is scraped, in the thread of the HTTP server."""
        self.gauge(name, description).set_function(read)

    def counter(self, name: str, description: str, *labels: str) -> Counter:
        """A new counter, exported with the suffix `_total`."""
        return Counter(f"{PREFIX}_{name}", description, labels, registry=self.registry)

    def counter_of(
        self,
        name: str,
        description: str,
        labels: Iterable[str],
        read: Callable[[], Iterable[Count]],
    ) -> None:
        """A counter whose counts are kept elsewhere and read when they are scraped."""
        self.registry.register(_Counts(f"{PREFIX}_{name}", description, list(labels), read))

    def histogram(
        self, name: str, description: str, buckets: Iterable[float], *labels: str
    ) -> Histogram:
        """A new histogram."""
        return Histogram(
            f"{PREFIX}_{name}", description, labels, buckets=tuple(buckets), registry=self.registry
        )


class _Counts(Collector):
    def __init__(
        self, name: str, description: str, labels: list[str], read: Callable[[], Iterable[Count]]
    ) -> None:
        self._name, self._description, self._labels, self._read = name, description, labels, read

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._description, labels=self._labels)
        for labels, count in self._read():
            family.add_metric(labels, count)
        yield family
