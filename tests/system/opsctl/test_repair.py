"""`opsctl check-bus`, `consistency`, `republish`, `retry-parked`: comparison and repair."""

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from nats.js.api import RawStreamMsg

from clients import CallFailed, Service, reason_of
from ops.v1 import ops_service_pb2
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.opsctl import opsctl
from tests.system.drivers.running_stack import RunningStack


async def delete_message(stack: RunningStack, subject: str) -> RawStreamMsg:
    """Deletes a subject's message from its stream after all consumers have handled it."""
    await stack.wait_until_idle()
    message = await stack.delete_message(subject)
    assert await stack.message_count(subject) == 0
    return message


async def test_an_event_that_a_stream_lost_is_found_and_published_again(
    disruptable_stack: RunningStack,
) -> None:
    """Nothing takes effect twice; a second check finds nothing."""
    journey, order_id, code = await disruptable_stack.prepare_session()
    await journey.start(code)
    await disruptable_stack.wait_for_effects(order_id, STARTED)
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    lost = await delete_message(disruptable_stack, subject)
    event_id = (lost.headers or {})["ce-id"]

    found = await opsctl(disruptable_stack, "check-bus", "payment", "--since", "15m")
    assert found.status == 1
    assert event_id in found.out
    assert await disruptable_stack.message_count(subject) == 0
    repaired = await opsctl(disruptable_stack, "check-bus", "--since", "15m", "--repair")
    assert repaired.status == 0, repaired
    assert event_id in repaired.out
    again = await disruptable_stack.wait_for_message(subject)
    assert (again.headers or {})["ce-id"] == event_id
    assert again.data == lost.data
    await disruptable_stack.wait_for_effects(order_id, STARTED)
    second = await opsctl(disruptable_stack, "check-bus", "--since", "15m")
    assert second.status == 0
    assert event_id not in second.out


async def test_an_event_that_a_consumer_acknowledged_and_lost_is_found_and_handled(
    disruptable_stack: RunningStack,
) -> None:
    journey, order_id, _ = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    stored = await disruptable_stack.wait_for_message(f"payment.v1.PaymentCompleted.{order_id}")
    event_id = (stored.headers or {})["ce-id"]
    async with disruptable_stack.sql() as superuser:
        await superuser.execute("DELETE FROM interview.inbox WHERE event_id = $1", event_id)
        await superuser.execute("DELETE FROM interview.cached_codes WHERE order_id = $1", order_id)
        await superuser.execute("DELETE FROM interview.sessions WHERE order_id = $1", order_id)
    found = await opsctl(disruptable_stack, "check-bus", "interview")
    assert found.status == 1
    assert event_id in found.out
    assert "PAYMENT → interview" in found.out
    repaired = await opsctl(disruptable_stack, "check-bus", "interview", "--repair")
    assert repaired.status == 0
    assert event_id in repaired.out
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await journey.start((await disruptable_stack.access_code(order_id)).code)
    await disruptable_stack.wait_for_effects(order_id, STARTED)
    assert (await opsctl(disruptable_stack, "check-bus", "interview")).status == 0


async def test_republishing_restores_purged_events_and_nothing_happens_twice(
    disruptable_stack: RunningStack,
) -> None:
    """PaymentCompleted is in the stream again, under the same id."""
    _, order_id, _ = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    before = await disruptable_stack.wait_for_message(subject)
    async with disruptable_stack.nats() as client:
        await client.jetstream().purge_stream("PAYMENT", subject="payment.v1.*.*")
    result = await opsctl(disruptable_stack, "republish", "payment", "--since", "30m")
    assert result.status == 0, result
    assert "events of payment queued for publishing" in result.out
    after = await disruptable_stack.wait_for_message(subject)
    assert (after.headers or {})["ce-id"] == (before.headers or {})["ce-id"]
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert (await opsctl(disruptable_stack, "check-bus", "--since", "30m")).status == 0


async def test_republishing_is_idempotent_by_its_request_id(
    disruptable_stack: RunningStack,
) -> None:
    """The same request gets the first reply again; another body is rejected."""
    await disruptable_stack.prepare_session()
    await disruptable_stack.wait_until_idle()
    ops, since = disruptable_stack.clients.ops["payment"], Timestamp()
    since.GetCurrentTime()
    since.seconds -= 600
    request = ops_service_pb2.RepublishEventsRequest(
        request_id=disruptable_stack.journey().name, since=since
    )
    first = await ops.RepublishEvents(request)
    assert first.event_count > 0
    await disruptable_stack.wait_until_idle()
    assert await ops.RepublishEvents(request) == first
    assert not await disruptable_stack.fetch_value("SELECT count(*) FROM payment.outbox")
    request.since.seconds += 1
    with pytest.raises(CallFailed) as rejected:
        await ops.RepublishEvents(request)
    assert reason_of(rejected.value) == "REQUEST_ID_REUSED"


async def test_a_parked_event_is_shown_and_published_by_retry_parked(
    disruptable_stack: RunningStack,
) -> None:
    """It is the copy of a published event, so that it has no effect of its own."""
    _, order_id, _ = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_until_idle()
    columns = "id, type, key, data, source, traceparent, occurred_at"
    await disruptable_stack.fetch_rows(
        f"INSERT INTO payment.outbox ({columns}, parked_reason)"  # noqa: S608  our own names
        f" SELECT {columns}, 'too long' FROM payment.outbox_published"
        " WHERE key = $1 AND type = 'payment.v1.PaymentCompleted'",
        order_id,
    )
    table = await opsctl(disruptable_stack, "status")
    assert table.status == 1
    assert "payment: parked events in the outbox: 1; see retry-parked" in table.out
    result = await opsctl(disruptable_stack, "retry-parked", "payment")
    assert result.status == 0, result
    assert "1 parked events of payment queued for publishing" in result.out
    await disruptable_stack.wait_until_idle()
    status = await opsctl(disruptable_stack, "status", "--json")
    assert status.json["services"]["payment"]["outbox"]["parked_count"] == "0"
    assert not await disruptable_stack.fetch_value("SELECT count(*) FROM payment.outbox")
    await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_consistency_checks_everything_and_shows_what_it_compared(
    shared_stack: RunningStack,
) -> None:
    await shared_stack.wait_until_idle()
    result = await opsctl(shared_stack, "consistency", "--since", "5m")
    for service in Service:
        assert f"{service}: " in result.out
    assert result.status == (0 if "no unrepaired findings" in result.out else 1)
    assert result.err == ""


async def test_without_the_broker_a_check_has_errors_instead_of_findings(
    disruptable_stack: RunningStack,
) -> None:
    """UNAVAILABLE BROKER_UNAVAILABLE with RetryInfo."""
    await disruptable_stack.devstack.kill("nats")
    result = await opsctl(disruptable_stack, "check-bus", "--repair")
    assert result.status == 1
    assert result.out.count("could not be checked") == len(Service)
    assert result.out.count("BROKER_UNAVAILABLE") == len(Service)
    with pytest.raises(CallFailed) as failed:
        await disruptable_stack.clients.ops["payment"].CheckBus(ops_service_pb2.CheckBusRequest())
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert failed.value.reason == "BROKER_UNAVAILABLE"
    assert failed.value.retry_delay
