"""A part that is away keeps nobody from their work, and catches up."""

import grpc
import pytest

from clients import reason_of, serving_status
from devstack.polling import wait_until
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_service_pb2
from tests.system.drivers.running_stack import PAID, STARTED, RunningStack, retry

SERVICES = ("payment", "interview", "notification")


async def health(outside: RunningStack, service: str, name: str) -> str:
    async with grpc.aio.insecure_channel(outside.stack.address(service)) as channel:
        return await serving_status(channel, name)


async def becomes(outside: RunningStack, service: str, name: str, wanted: str) -> None:
    async def look() -> bool:
        try:
            return await health(outside, service, name) == wanted
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:  # not looked at yet
                raise
            return False

    await wait_until(look, f"{service}'s health {name!r} {wanted}", 60)


async def test_durable_consumers_survive_a_restart_without_a_gap(
    disruptable_stack: RunningStack,
) -> None:
    """Events before, during and after the restart of every listener are all handled."""
    orders = [await disruptable_stack.journey().paid_order() for _ in range(3)]
    for service in ("interview", "notification"):
        await disruptable_stack.stack.terminate(service)
    orders += [await disruptable_stack.journey().paid_order() for _ in range(3)]
    for service in ("interview", "notification"):
        await disruptable_stack.stack.start(service)
    orders += [await disruptable_stack.journey().paid_order() for _ in range(3)]
    for order_id in orders:
        await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_payment_and_interview_work_while_the_broker_is_away(
    disruptable_stack: RunningStack,
) -> None:
    """Orders are paid, interviews start; what they announce comes when the broker is back.

    Overall health stays SERVING, the health of the bus says what is wrong, and so does
    GetBusStatus.
    """
    journey, started_id, code = await disruptable_stack.prepared()
    await disruptable_stack.wait_for_effects(started_id, PAID)
    await disruptable_stack.stack.kill("nats")
    paid_id = await disruptable_stack.journey().paid_order()
    await journey.start(code)
    for service in SERVICES:
        await becomes(disruptable_stack, service, "bus", "NOT_SERVING")
        assert await health(disruptable_stack, service, "") == "SERVING"
        status = await disruptable_stack.clients.ops[service].GetBusStatus(
            ops_service_pb2.GetBusStatusRequest()
        )
        assert not status.broker_connected
        if service != "notification":
            assert status.outbox.unpublished_count > 0
            assert status.outbox.oldest_unpublished_age.ToNanoseconds() > 0
    assert await health(disruptable_stack, "payment", "payment.v1.PaymentService") == "SERVING"
    await disruptable_stack.stack.start("nats")
    for service in SERVICES:
        await becomes(disruptable_stack, service, "bus", "SERVING")
    await disruptable_stack.wait_for_effects(paid_id, PAID)
    await disruptable_stack.wait_for_effects(started_id, STARTED)


async def test_without_its_database_a_service_says_so_and_comes_back(
    disruptable_stack: RunningStack,
) -> None:
    """UNAVAILABLE with a reason, health NOT_SERVING; both mend by themselves."""
    journey, order_id, code = await disruptable_stack.prepared()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await disruptable_stack.stack.kill("postgres")
    validate = access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
    for call in (
        journey.order(),
        journey.start(code),
        disruptable_stack.clients.codes.ValidateAccessCode(validate),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_of(refused.value) == "DATABASE_UNAVAILABLE"
    for service in SERVICES:
        await becomes(disruptable_stack, service, "", "NOT_SERVING")
    await disruptable_stack.stack.start("postgres")
    for service in SERVICES:
        await becomes(disruptable_stack, service, "", "SERVING")
    await retry(lambda: journey.start(code), "the interview")
    await disruptable_stack.wait_for_effects(order_id, STARTED)
