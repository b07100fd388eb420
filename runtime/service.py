"""The composition root that all services share: everything around a service's own objects.

A service's `__main__` creates a `Service`, adds its consumers, channels and workers, and runs it
with its servicers.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic

import grpc
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import BusTables, Consumer, Event, HandlerRegistry, IncomingEvent, Relay
from eventbus.reconciliation import BusReconciliation
from eventbus.retention import Retention
from ops.v1 import ops_service_pb2_grpc
from runtime.database.engine import create_engine
from runtime.database.idempotency import IdempotencyStore
from runtime.database.transactions import Transactions, Work
from runtime.metrics.bus import BusMetrics
from runtime.metrics.calls import CallMetrics
from runtime.metrics.http_server import MetricsServer
from runtime.metrics.process import add_pool_metrics, add_process_metrics
from runtime.metrics.registry import METRICS_SECONDS, Metrics
from runtime.ops import bus_reconciliation
from runtime.ops.bus_reconciliation import ScheduledBusReconciliation
from runtime.ops.errors import ERRORS as OPS_ERRORS
from runtime.ops.scheduled_check import Check, ScheduledCheck
from runtime.ops.servicer import OpsServicer
from runtime.process import Process
from runtime.rpc.client import Peer, open_channel
from runtime.rpc.errors import ErrorMapper, ErrorTable
from runtime.rpc.failed_attempt_limit import FailedAttemptLimiter
from runtime.rpc.health import HealthMonitor
from runtime.rpc.server import GrpcServer, ServiceRegistration
from runtime.rpc.tls import channel_credentials
from runtime.service_name import ServiceName
from runtime.settings import ServiceSettings
from runtime.workers import PollingWorker, Worker

_RETENTION_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class ServiceSchema(Generic[Work]):
    """A service's part of the database: the shared tables and its unit of work."""

    name: ServiceName
    bus: BusTables
    request_replies: Table
    check_progress: Table
    unit_of_work: Callable[[AsyncConnection], Work]


@dataclass(frozen=True, slots=True)
class Api:
    """A service's gRPC interface."""

    registrations: Sequence[ServiceRegistration]
    errors: ErrorTable
    # Request fields that the log line of a call carries.
    logged_fields: Sequence[str] = field(default=())


class Service(Generic[Work]):
    """One service process, composed of what all services have and what this one adds."""

    def __init__(
        self,
        config: ServiceSettings,
        schema: ServiceSchema[Work],
        watermark: Callable[[datetime], Event] | None = None,
    ) -> None:
        """`watermark` creates the event that states how complete the service's stream is."""
        self._config, self._schema, self.name = config, schema, schema.name
        # Also a service that calls no other one reports a file that it cannot read.
        channel_credentials(config.tls_roots)
        self.engine = create_engine(config, str(self.name))
        self.broker = config.create_broker(str(self.name))
        signal = self.broker.relay_signal(str(self.name))
        self.relay = Relay(self.engine, schema.bus, self.broker, config.relay(), watermark, signal)
        self.database = Transactions(self.engine, schema.unit_of_work, self.relay.wake)
        self.idempotency = IdempotencyStore(schema.request_replies, self.engine)
        self.failed_attempts = FailedAttemptLimiter(*config.failed_validation_limits())
        self.metrics = Metrics()
        add_process_metrics(self.metrics, str(self.name))
        add_pool_metrics(self.metrics, self.engine)
        self._consumers: list[Consumer] = []
        self._channels: list[grpc.aio.Channel] = []
        self._workers: list[Worker] = []

    def add_consumer(
        self,
        stream: str,
        handlers: HandlerRegistry,
        after_commit: Callable[[Sequence[IncomingEvent]], None] = lambda _: None,
        name: str = "",
    ) -> Consumer:
        """Handles events of a stream; `after_commit` is for effects in memory.

        The durable consumer has the service's name. `name` is for its marks and dead letters where
        that is not unique: a service with durables on two streams.
        """
        source = self.broker.pull_consumer(stream, str(self.name))
        settings = self._config.consumer()
        consumer = Consumer(
            self.engine, self._schema.bus, source, handlers, settings, after_commit, name
        )
        self._consumers.append(consumer)
        return consumer

    def open_channel(self, peer: Peer, service_config: str = "{}") -> grpc.aio.Channel:
        """A channel to another server, closed when the process ends."""
        channel = open_channel(self._config.auth_signing_key, peer, service_config)
        self._channels.append(channel)
        return channel

    def add_worker(self, worker: Worker) -> None:
        """Runs a worker beside the server."""
        self._workers.append(worker)

    def every(self, seconds: float, name: str, work: Callable[[], Any]) -> None:
        """Runs a piece of work at an interval."""
        self._workers.append(PollingWorker(name, seconds, work))

    def add_check(
        self,
        name: str,
        seconds: float,
        check: Check,
        *,
        on_stop: Callable[[], None] = lambda: None,
        run_immediately: bool = True,
    ) -> None:
        """Runs a check at an interval, in one replica at a time: see `ScheduledCheck`."""
        worker = ScheduledCheck(
            name,
            seconds,
            check,
            self.engine,
            self._schema.bus,
            on_stop=on_stop,
            run_immediately=run_immediately,
        )
        self._workers.append(worker)

    async def run(self, api: Api, stop: asyncio.Event) -> None:
        """Serves until `stop` is set; raises what keeps the process from starting."""
        config, tables = self._config, self._schema.bus
        reconciliation = BusReconciliation(
            self.engine,
            tables,
            self.broker.stream_reader,
            self._consumers,
            self.name.stream,
            self.relay.wake,
        )
        ops = OpsServicer(
            self.engine,
            tables,
            self.broker,
            self.relay,
            self._consumers,
            self.idempotency,
            reconciliation,
        )
        health = HealthMonitor(self.engine, self.broker, [self.relay, *self._consumers])
        http = MetricsServer(
            self.metrics.registry, {"/livez": health.is_live, "/readyz": health.is_ready}
        )
        self.metrics.gauge_of(
            "broker_connected",
            "1 while the process is connected to the broker, else 0.",
            lambda: float(self.broker.connected),
        )
        register: Any = ops_service_pb2_grpc.add_OpsServiceServicer_to_server
        server = GrpcServer(
            config,
            str(self.name),
            [*api.registrations, ServiceRegistration("ops.v1.OpsService", register, ops)],
            ErrorMapper({**api.errors, **OPS_ERRORS}),
            health,
            CallMetrics(self.metrics),
            api.logged_fields,
        )
        workers = [*self._consumers, *self._workers, *self._housekeeping(reconciliation)]
        process = Process(
            config, self.name, self.engine, self.broker, server, workers, self.relay, http
        )
        try:
            await process.run(stop)
        finally:
            for channel in self._channels:
                await channel.close()

    def _housekeeping(self, reconciliation: BusReconciliation) -> list[Worker]:
        config, tables = self._config, self._schema.bus
        numbers = BusMetrics(self.metrics, self.engine, tables, self.relay, self._consumers)
        interval = config.bus_reconciliation_interval_seconds
        scheduled = ScheduledBusReconciliation(
            self.engine,
            self._schema.check_progress,
            reconciliation,
            self.metrics,
            interval,
            config.full_check_hour,
            repair=config.bus_reconciliation_repair,
        )
        retention = Retention(self.engine, tables, config.retention())
        return [
            PollingWorker("bus metrics", METRICS_SECONDS, numbers.update),
            ScheduledCheck(
                bus_reconciliation.NAME,
                interval,
                scheduled,
                self.engine,
                tables,
                run_immediately=False,
            ),
            PollingWorker("bus retention", _RETENTION_SECONDS, retention.sweep),
            PollingWorker("idempotency retention", _RETENTION_SECONDS, self.idempotency.sweep),
        ]
