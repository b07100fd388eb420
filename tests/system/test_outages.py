"""A part that is away keeps nobody from their work, and catches up."""

from typing import cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from devstack.polling import eventually
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_service_pb2
from tests.system.drivers.running_stack import PAID, STARTED, Outside, insist, reason_of

SERVICES = ("payment", "interview", "notification")


async def health(outside: Outside, service: str, name: str) -> str:
    async with grpc.aio.insecure_channel(outside.stack.address(service)) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        answer = await check(health_pb2.HealthCheckRequest(service=name), timeout=5)
    status = cast("health_pb2.HealthCheckResponse", answer).status
    return health_pb2.HealthCheckResponse.ServingStatus.Name(status)


async def becomes(outside: Outside, service: str, name: str, wanted: str) -> None:
    async def look() -> bool:
        try:
            return await health(outside, service, name) == wanted
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:  # not looked at yet
                raise
            return False

    await eventually(look, f"{service}'s health {name!r} {wanted}", 60)


async def test_durable_consumers_survive_a_restart_without_a_gap(rough: Outside) -> None:
    """Events before, during and after the restart of every listener are all handled."""
    orders = [await rough.journey().paid_order() for _ in range(3)]
    for service in ("interview", "notification"):
        await rough.stack.terminate(service)
    orders += [await rough.journey().paid_order() for _ in range(3)]
    for service in ("interview", "notification"):
        await rough.stack.start(service)
    orders += [await rough.journey().paid_order() for _ in range(3)]
    for order_id in orders:
        await rough.came_to(order_id, PAID)


async def test_payment_and_interview_work_while_the_broker_is_away(
    rough: Outside,
) -> None:
    """Orders are paid, interviews start; what they announce comes when the broker is back.

    Overall health stays SERVING, the health of the bus says what is wrong, and so does
    GetBusStatus.
    """
    journey, started_id, code = await rough.prepared()
    await rough.came_to(started_id, PAID)
    await rough.stack.kill("nats")
    paid_id = await rough.journey().paid_order()
    await journey.start(code)
    for service in SERVICES:
        await becomes(rough, service, "bus", "NOT_SERVING")
        assert await health(rough, service, "") == "SERVING"
        status = await rough.clients.ops[service].GetBusStatus(
            ops_service_pb2.GetBusStatusRequest()
        )
        assert not status.broker_connected
        if service != "notification":
            assert status.outbox.unpublished_count > 0
            assert status.outbox.oldest_unpublished_age.ToNanoseconds() > 0
    assert await health(rough, "payment", "payment.v1.PaymentService") == "SERVING"
    await rough.stack.start("nats")
    for service in SERVICES:
        await becomes(rough, service, "bus", "SERVING")
    await rough.came_to(paid_id, PAID)
    await rough.came_to(started_id, STARTED)


async def test_without_its_database_a_service_says_so_and_comes_back(rough: Outside) -> None:
    """UNAVAILABLE with a reason, health NOT_SERVING; both mend by themselves."""
    journey, order_id, code = await rough.prepared()
    await rough.came_to(order_id, PAID)
    await rough.stack.kill("postgres")
    validate = access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
    for call in (
        journey.order(),
        journey.start(code),
        rough.clients.codes.ValidateAccessCode(validate),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_of(refused.value) == "DATABASE_UNAVAILABLE"
    for service in SERVICES:
        await becomes(rough, service, "", "NOT_SERVING")
    await rough.stack.start("postgres")
    for service in SERVICES:
        await becomes(rough, service, "", "SERVING")
    await insist(lambda: journey.start(code), "the interview")
    await rough.came_to(order_id, STARTED)
