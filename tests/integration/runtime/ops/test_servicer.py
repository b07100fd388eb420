"""The replies of RepublishEvents and CheckBus, and the errors of refused calls."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from eventbus import Relay
from eventbus.broker import BrokerUnavailable
from eventbus.reconciliation import BusReconciliation, Findings, MissingEvent
from eventbus.requeue import RepublishTooOld
from ops.v1 import ops_service_pb2
from runtime.auth.authentication import Caller, Role, set_caller
from runtime.database.idempotency import IdempotencyStore, define_table
from runtime.ops.errors import ERRORS
from runtime.ops.messages import findings
from runtime.ops.servicer import OpsServicer
from runtime.protobuf import to_timestamp
from runtime.rpc.errors import ErrorMapper, InvalidRequest
from tests.integration.drivers.bus import ROLE, Bus

CONTEXT: Any = None


async def servicer(bus: Bus, relay: Relay) -> OpsServicer:
    """The servicer with a table of replies of its own."""
    replies = define_table(bus.tables.outbox.metadata)
    async with bus.superuser.begin() as connection:
        await connection.run_sync(replies.create)
    await bus.execute(f"GRANT SELECT, INSERT, UPDATE ON {replies} TO {ROLE}")
    set_caller(Caller("mei", frozenset({Role.OPERATOR})))
    consumers = [bus.consumer()]
    kept = IdempotencyStore(replies, bus.engine)
    reconciliation = BusReconciliation(
        bus.engine, bus.tables, bus.broker.stream_reader, consumers, bus.stream, relay.wake
    )
    return OpsServicer(bus.engine, bus.tables, bus.broker, relay, consumers, kept, reconciliation)


def details(error: Exception) -> tuple[grpc.StatusCode, str, set[str]]:
    """Status, reason and kinds of details with which an error leaves the service."""
    status = ErrorMapper(ERRORS)._status_of(error, chinese=False)
    info = error_details_pb2.ErrorInfo()
    kinds = {detail.type_url.rpartition(".")[2] for detail in status.details}
    status.details[0].Unpack(info)
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    return code, info.reason, kinds


async def test_too_long_ago_is_out_of_range_and_stores_no_reply(bus: Bus) -> None:
    relay = bus.relay()
    await bus.commit(*bus.events(3))
    await bus.publish_all(relay)
    await bus.let_days_pass(9)
    ops = await servicer(bus, relay)
    long_ago = to_timestamp(datetime.now(UTC) - timedelta(days=20))
    request = ops_service_pb2.RepublishEventsRequest(request_id="r", since=long_ago)
    for _ in range(2):
        with pytest.raises(RepublishTooOld) as refused:
            await ops.RepublishEvents(request, CONTEXT)
    code, reason, _ = details(refused.value)
    assert (code, reason) == (grpc.StatusCode.OUT_OF_RANGE, "REPUBLISH_TOO_OLD")
    assert await bus.unpublished() == []


async def test_events_are_put_back_once_per_request(bus: Bus) -> None:
    relay = bus.relay()
    await bus.commit(*bus.events(3))
    await bus.publish_all(relay)
    ops = await servicer(bus, relay)
    since = to_timestamp(datetime.now(UTC) - timedelta(minutes=1))
    request = ops_service_pb2.RepublishEventsRequest(request_id="r", since=since)
    assert (await ops.RepublishEvents(request, CONTEXT)).event_count == 3
    await bus.publish_all(relay)
    assert (await ops.RepublishEvents(request, CONTEXT)).event_count == 3
    assert await bus.unpublished() == []


async def test_a_check_covers_the_last_hour_by_default(bus: Bus) -> None:
    ops, relay = await servicer(bus, bus.relay()), bus.relay()
    await bus.commit(*bus.events(3))
    await bus.publish_all(relay)
    reply = await ops.CheckBus(ops_service_pb2.CheckBusRequest(), CONTEXT)
    assert (reply.published_count, len(reply.lost)) == (3, 0)
    later = to_timestamp(datetime.now(UTC) + timedelta(minutes=5))
    reply = await ops.CheckBus(ops_service_pb2.CheckBusRequest(since=later), CONTEXT)
    assert reply.published_count == 0


@pytest.mark.parametrize(
    "since", [Timestamp(seconds=2**62), Timestamp(seconds=-(2**62)), Timestamp(nanos=-5)]
)
async def test_a_time_that_is_none_is_an_invalid_request(bus: Bus, since: Timestamp) -> None:
    request, ops = ops_service_pb2.CheckBusRequest(since=since), await servicer(bus, bus.relay())
    with pytest.raises(InvalidRequest, match="since"):
        await ops.CheckBus(request, CONTEXT)


@pytest.mark.parametrize("year", [1, 1969, 9999])
async def test_any_time_may_be_asked_for(bus: Bus, year: int) -> None:
    """Before all events, before the epoch, or never."""
    relay = bus.relay()
    await bus.commit(*bus.events(3))
    await bus.publish_all(relay)
    await bus.deliver_until_done(bus.consumer())
    ops = await servicer(bus, relay)
    since = to_timestamp(datetime(year, 1, 1, tzinfo=UTC))
    reply = await ops.CheckBus(ops_service_pb2.CheckBusRequest(since=since), CONTEXT)
    expected = 0 if year == 9999 else 3
    assert (reply.published_count, reply.message_count) == (expected, expected)


def test_an_unavailable_broker_is_reported_with_a_retry_delay() -> None:
    code, reason, kinds = details(BrokerUnavailable("password refused"))
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "BROKER_UNAVAILABLE")
    assert "RetryInfo" in kinds


def test_the_beginning_of_a_long_list_is_reported() -> None:
    one = MissingEvent("evt", "x.v1.Y", "k", "S", "", datetime(2026, 1, 1, tzinfo=UTC))
    reply = findings(Findings([one] * 1001, [one] * 999, 5000, 7000))
    assert (len(reply.lost), len(reply.unhandled)) == (1000, 999)
    assert (reply.published_count, reply.message_count) == (5000, 7000)
