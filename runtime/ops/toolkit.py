"""What every service has for its operators: ops.v1, metrics, and workers that keep house."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus import BusTables, Consumer, Relay
from eventbus.jetstream import JetStream
from eventbus.reconciliation import Findings, MissingEvent
from eventbus.retention import Retention
from ops.v1 import ops_service_pb2_grpc
from runtime.database.idempotency import IdempotencyStore
from runtime.ops.metrics import BusMetrics, Metrics
from runtime.ops.servicer import OpsServicer
from runtime.rpc.server import Servicer
from runtime.settings import ServiceSettings
from runtime.workers import PeriodicWorker

_log = structlog.get_logger(__name__)
_LOOK_SECONDS = 5.0
# Rounds overlap, so that what was just under way at the end of one is seen in the next.
_ROUNDS_LOOKED_BACK = 3


class Operations:
    """The operators' side of one service. `workers` look after metrics, bus and retention."""

    def __init__(
        self,
        config: ServiceSettings,
        engine: AsyncEngine,
        tables: BusTables,
        broker: JetStream,
        relay: Relay,
        consumers: Sequence[Consumer],
        replies: IdempotencyStore,
    ) -> None:
        self.metrics = Metrics()
        ops = OpsServicer(engine, tables, broker, relay, consumers, replies)
        register: Any = ops_service_pb2_grpc.add_OpsServiceServicer_to_server
        self.servicer = Servicer("ops.v1.OpsService", register, ops)
        self._check, self._repair = ops.check, config.bus_check_repair
        self._looked_back = timedelta(seconds=config.bus_check_seconds * _ROUNDS_LOOKED_BACK)
        what = f"events of the last {_ROUNDS_LOOKED_BACK} rounds that the last check missed"
        self._missing = self.metrics.gauge("bus_missing_events", what, "kind")
        self._count(Findings())
        numbers = BusMetrics(self.metrics, engine, tables, consumers)
        self.workers = [
            PeriodicWorker("metrics", _LOOK_SECONDS, numbers.look),
            PeriodicWorker(
                "check bus", config.bus_check_seconds, self._check_bus, run_immediately=False
            ),
            PeriodicWorker(
                "bus retention", 3600, Retention(engine, tables, config.retention()).sweep
            ),
            PeriodicWorker("replies retention", 3600, replies.sweep),
        ]

    async def _check_bus(self) -> None:
        since = datetime.now(UTC) - self._looked_back
        findings = await self._check.run(since, repair=self._repair)
        self._count(findings)
        for kind, missing in _by_kind(findings).items():
            for one in missing:
                _tell(kind, one)

    def _count(self, findings: Findings) -> None:
        for kind, missing in _by_kind(findings).items():
            self._missing.labels(kind).set(len(missing))


def _by_kind(findings: Findings) -> Mapping[str, Sequence[MissingEvent]]:
    return {"lost": findings.lost, "unhandled": findings.unhandled}


def _tell(kind: str, one: MissingEvent) -> None:
    _log.warning(
        "event missing",
        kind=kind,
        event_id=one.event_id,
        event_type=one.event_type,
        order_id=one.key,
        stream=one.stream,
        consumer=one.consumer,
        repaired=one.repaired,
    )
