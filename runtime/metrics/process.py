"""The metrics of the process itself: build, CPU, memory, Python, and the database pool."""

import platform

from prometheus_client import GCCollector, ProcessCollector
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from runtime.metrics.registry import Metrics
from runtime.version import VERSION


def add_process_metrics(metrics: Metrics, service: str) -> None:
    """Adds build information and the standard `process_…` and `python_gc_…` metrics."""
    build = metrics.gauge(
        "build_info", "1; the labels say what runs.", "service", "version", "python"
    )
    build.labels(service, VERSION, platform.python_version()).set(1)
    ProcessCollector(registry=metrics.registry)
    GCCollector(registry=metrics.registry)


def add_pool_metrics(metrics: Metrics, engine: AsyncEngine) -> None:
    """Adds the state of the database's connection pool."""
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        raise TypeError(f"{type(pool).__name__} has no size")
    metrics.gauge_of(
        "database_connections_in_use", "Connections of the pool that are in use.", pool.checkedout
    )
    metrics.gauge_of("database_connections_max", "Size of the connection pool.", pool.size)
