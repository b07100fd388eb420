"""ops.v1.OpsService: the operator's view of a service's part of the bus."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eventbus import BusTables, Consumer, Relay
from eventbus.broker import BrokerUnavailable, ConsumerLag
from eventbus.dead_letters.store import DeadLetter, DeadLetterStore, ReplayFailed
from eventbus.errors import describe_error
from eventbus.jetstream import JetStream
from eventbus.outbox import Backlog, backlog, retry_parked
from eventbus.reconciliation import BusReconciliation
from eventbus.requeue import Republisher
from ops.v1 import ops_service_pb2, ops_service_pb2_grpc
from runtime.auth.authentication import current_caller
from runtime.database.idempotency import IdempotencyStore, Reply
from runtime.ops.event_json import Undecodable, to_json
from runtime.ops.messages import dead_letter, duration, findings
from runtime.protobuf import to_datetime, to_timestamp
from runtime.redaction import mask
from runtime.rpc.call_layer import Context
from runtime.rpc.errors import InvalidRequest
from runtime.rpc.pagination import Page
from runtime.violations import Violation

_DEFAULT_CHECK_PERIOD = timedelta(hours=1)
# A hanging broker is reported before the caller's own deadline passes.
_BROKER_SECONDS = 2.0
_INVALID_SINCE = Violation("since", "is not a valid timestamp", "不是有效的时间")
_Progress = tuple[ConsumerLag, float]


class BrokerTimeout(BrokerUnavailable):
    """The broker accepts a request and does not reply."""


class OpsServicer(ops_service_pb2_grpc.OpsServiceServicer):
    """ops.v1.OpsService; its contract describes each method."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: BusTables,
        broker: JetStream,
        relay: Relay,
        consumers: Sequence[Consumer],
        idempotency: IdempotencyStore,
        reconciliation: BusReconciliation,
    ) -> None:
        self._idempotency, self._reconciliation = idempotency, reconciliation
        self._engine, self._tables, self._broker, self._relay = engine, tables, broker, relay
        self._consumers = {consumer.name: consumer for consumer in consumers}
        self._dead_letters = DeadLetterStore(tables)
        self._republisher = Republisher(tables)

    async def GetBusStatus(  # noqa: N802
        self, _request: ops_service_pb2.GetBusStatusRequest, _context: Context
    ) -> ops_service_pb2.GetBusStatusResponse:
        async with self._engine.connect() as connection:
            waiting = await backlog(connection, self._tables)
            counts = {
                name: await self._dead_letters.count_open(connection, name)
                for name in self._consumers
            }
        progresses = await asyncio.gather(*(_progress(self._consumers[name]) for name in counts))
        return ops_service_pb2.GetBusStatusResponse(
            outbox=self._outbox(waiting),
            consumers=[
                self._consumer(name, count, progress)
                for (name, count), progress in zip(counts.items(), progresses, strict=True)
            ],
            # The connection to a hanging broker stays open for a while.
            broker_connected=self._broker.connected
            and not any(isinstance(progress, BrokerTimeout) for progress in progresses),
        )

    def _outbox(self, waiting: Backlog) -> ops_service_pb2.OutboxStatus:
        return ops_service_pb2.OutboxStatus(
            unpublished_count=waiting.count,
            oldest_unpublished_age=duration(waiting.oldest_age_seconds),
            parked_count=waiting.parked,
            last_error=mask(self._relay.current_error),
        )

    def _consumer(
        self, name: str, dead_letters: int, progress: _Progress | BrokerUnavailable
    ) -> ops_service_pb2.ConsumerStatus:
        consumer = self._consumers[name]
        error, (lag, age) = (
            (describe_error(progress), (ConsumerLag(0, 0, 0), 0.0))
            if isinstance(progress, BrokerUnavailable)
            else (consumer.last_error, progress)
        )
        return ops_service_pb2.ConsumerStatus(
            consumer=consumer.pull_consumer.durable,
            stream=consumer.pull_consumer.stream,
            pending_count=lag.pending,
            unacknowledged_count=lag.unacknowledged,
            oldest_unhandled_age=duration(age),
            dead_letter_count=dead_letters,
            last_error=mask(error),
            paused=lag.paused_until is not None,
            paused_until=to_timestamp(lag.paused_until) if lag.paused_until else None,
        )

    async def ListDeadLetters(  # noqa: N802
        self, request: ops_service_pb2.ListDeadLettersRequest, _context: Context
    ) -> ops_service_pb2.ListDeadLettersResponse:
        page = Page.of(request, "dlq")
        async with self._engine.connect() as connection:
            found = await self._dead_letters.open_page(connection, page.limit, page.after)
        dead_letters, token = page.split(found, "dead_letter_id")
        return ops_service_pb2.ListDeadLettersResponse(
            dead_letters=[dead_letter(entry) for entry in dead_letters], next_page_token=token
        )

    async def GetDeadLetter(  # noqa: N802
        self, request: ops_service_pb2.GetDeadLetterRequest, _context: Context
    ) -> ops_service_pb2.GetDeadLetterResponse:
        entry = await self._get(request.dead_letter_id)
        try:
            decoded = to_json(entry.event_type, entry.data)
        except Undecodable:
            decoded = ""
        return ops_service_pb2.GetDeadLetterResponse(
            dead_letter=dead_letter(entry),
            data=entry.data,
            headers=entry.headers,
            decoded_json=decoded,
        )

    async def ReplayDeadLetter(  # noqa: N802
        self, request: ops_service_pb2.ReplayDeadLetterRequest, _context: Context
    ) -> ops_service_pb2.ReplayDeadLetterResponse:
        entry = await self._get(request.dead_letter_id)
        owner = self._owner(entry, "replayed").dead_letters

        async def replay(connection: AsyncConnection) -> ops_service_pb2.ReplayDeadLetterResponse:
            passed = await owner.replay(connection, entry.dead_letter_id)
            return ops_service_pb2.ReplayDeadLetterResponse(later_events_passed=passed)

        reply = await self._run_once(request, ops_service_pb2.ReplayDeadLetterResponse, replay)
        owner.committed()
        return reply

    async def DiscardDeadLetter(  # noqa: N802
        self, request: ops_service_pb2.DiscardDeadLetterRequest, _context: Context
    ) -> ops_service_pb2.DiscardDeadLetterResponse:
        entry = await self._get(request.dead_letter_id)
        owner = self._owner(entry, "discarded").dead_letters

        async def discard(connection: AsyncConnection) -> ops_service_pb2.DiscardDeadLetterResponse:
            await owner.discard(connection, entry.dead_letter_id)
            return ops_service_pb2.DiscardDeadLetterResponse()

        return await self._run_once(request, ops_service_pb2.DiscardDeadLetterResponse, discard)

    async def RepublishEvents(  # noqa: N802
        self, request: ops_service_pb2.RepublishEventsRequest, _context: Context
    ) -> ops_service_pb2.RepublishEventsResponse:
        since = _moment(request.since)

        async def republish(connection: AsyncConnection) -> ops_service_pb2.RepublishEventsResponse:
            count = await self._republisher.requeue_since(connection, since)
            return ops_service_pb2.RepublishEventsResponse(event_count=count)

        reply = await self._run_once(request, ops_service_pb2.RepublishEventsResponse, republish)
        self._relay.wake()
        return reply

    async def RetryParkedEvents(  # noqa: N802
        self, request: ops_service_pb2.RetryParkedEventsRequest, _context: Context
    ) -> ops_service_pb2.RetryParkedEventsResponse:
        async def retry(connection: AsyncConnection) -> ops_service_pb2.RetryParkedEventsResponse:
            count = await retry_parked(connection, self._tables)
            return ops_service_pb2.RetryParkedEventsResponse(event_count=count)

        reply = await self._run_once(request, ops_service_pb2.RetryParkedEventsResponse, retry)
        self._relay.wake()
        return reply

    async def _run_once(
        self,
        request: Any,
        reply: type[Reply],
        handler: Callable[[AsyncConnection], Awaitable[Reply]],
    ) -> Reply:
        async with self._engine.begin() as connection:
            return await self._idempotency.run_once(
                connection, current_caller().scope, request, reply, lambda: handler(connection)
            )

    async def CheckBus(  # noqa: N802
        self, request: ops_service_pb2.CheckBusRequest, _context: Context
    ) -> ops_service_pb2.CheckBusResponse:
        if request.HasField("since"):
            since = _moment(request.since)
        else:
            since = datetime.now(UTC) - _DEFAULT_CHECK_PERIOD
        return findings(await self._reconciliation.run(since, repair=request.repair))

    async def _get(self, dead_letter_id: str) -> DeadLetter:
        async with self._engine.connect() as connection:
            return await self._dead_letters.get(connection, dead_letter_id)

    def _owner(self, entry: DeadLetter, step: str) -> Consumer:
        if (consumer := self._consumers.get(entry.consumer)) is None:
            reason = f"this service has no consumer {entry.consumer} any more"
            raise ReplayFailed(entry.dead_letter_id, step, reason)
        return consumer


async def _progress(consumer: Consumer) -> _Progress | BrokerUnavailable:
    """Lag, and age in seconds of the oldest unhandled message; the error if unavailable."""
    try:
        async with asyncio.timeout(_BROKER_SECONDS):
            lag = await consumer.pull_consumer.lag()
            return lag, await consumer.pull_consumer.oldest_unhandled_age(lag)
    except TimeoutError:
        return BrokerTimeout(f"no reply within {_BROKER_SECONDS:g} s")
    except BrokerUnavailable as unavailable:
        return unavailable


def _moment(since: Timestamp) -> datetime:
    try:
        return to_datetime(since)
    except ValueError:
        raise InvalidRequest([_INVALID_SINCE]) from None
