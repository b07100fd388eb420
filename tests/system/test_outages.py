"""Outages of one process: the others go on, and it catches up."""

import grpc

from ops.v1 import ops_service_pb2
from tests.system.drivers.access_codes import validate_access_code
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.grpc_calls import raises_rpc_error, retry
from tests.system.drivers.health import health_status, wait_for_health
from tests.system.drivers.running_stack import RunningStack

SERVICES = ("payment", "interview", "notification")


async def test_a_restart_of_notification_leaves_no_gap(disruptable_stack: RunningStack) -> None:
    """Orders paid before, during and after it are all mailed; test_17 checks it for interview."""
    orders = [await disruptable_stack.journey().paid_order() for _ in range(3)]
    await disruptable_stack.devstack.terminate("notification")
    orders += [await disruptable_stack.journey().paid_order() for _ in range(3)]
    await disruptable_stack.devstack.start("notification")
    orders += [await disruptable_stack.journey().paid_order() for _ in range(3)]
    for order_id in orders:
        await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_payment_and_interview_work_while_the_broker_is_down(
    disruptable_stack: RunningStack,
) -> None:
    """Orders are paid and sessions start; their events are published when the broker is back.

    Each service as a whole stays SERVING; its bus is NOT_SERVING, and GetBusStatus shows why.
    """
    journey, started_id, code = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(started_id, PAID)
    await disruptable_stack.devstack.kill("nats")
    paid_id = await disruptable_stack.journey().paid_order()
    await journey.start(code)
    for service in SERVICES:
        await wait_for_health(disruptable_stack, service, "bus", "NOT_SERVING")
        assert await health_status(disruptable_stack, service, "") == "SERVING"
        status = await disruptable_stack.clients.ops[service].GetBusStatus(
            ops_service_pb2.GetBusStatusRequest()
        )
        assert not status.broker_connected
        if service != "notification":
            assert status.outbox.unpublished_count > 0
            assert status.outbox.oldest_unpublished_age.ToNanoseconds() > 0
    payment_service = "payment.v1.PaymentService"
    assert await health_status(disruptable_stack, "payment", payment_service) == "SERVING"
    await disruptable_stack.devstack.start("nats")
    for service in SERVICES:
        await wait_for_health(disruptable_stack, service, "bus", "SERVING")
    await disruptable_stack.wait_for_effects(paid_id, PAID)
    await disruptable_stack.wait_for_effects(started_id, STARTED)


async def test_services_report_a_database_outage_and_recover(
    disruptable_stack: RunningStack,
) -> None:
    """Calls fail with DATABASE_UNAVAILABLE, health is NOT_SERVING until the database is back.

    Liveness stays SERVING: a restart would not help.
    """
    journey, order_id, code = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await disruptable_stack.devstack.kill("postgres")
    for call in (
        journey.order(),
        journey.start(code),
        validate_access_code(disruptable_stack.clients, code),
    ):
        with raises_rpc_error("DATABASE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE):
            await call
    for service in SERVICES:
        await wait_for_health(disruptable_stack, service, "", "NOT_SERVING")
        assert await health_status(disruptable_stack, service, "liveness") == "SERVING"
    await disruptable_stack.devstack.start("postgres")
    for service in SERVICES:
        await wait_for_health(disruptable_stack, service, "", "SERVING")
    await retry(lambda: journey.start(code), "the interview")
    await disruptable_stack.wait_for_effects(order_id, STARTED)
