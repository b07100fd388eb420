"""PROOFS 11, 13, 17, 34: a part that is away keeps nobody from their work, and catches up."""

from typing import cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from devstack.waiting import eventually
from interview.v1 import interview_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_service_pb2, payment_service_pb2
from tests.system.outside import PAID, STARTED, Outside, insist, reason_of

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


async def test_proof_11_an_order_is_paid_while_interview_is_stopped(rough: Outside) -> None:
    """The payment succeeds; the session appears when interview is back."""
    await rough.stack.terminate("interview")
    journey = rough.journey()
    order = await journey.order()
    payment = await journey.pay(order.order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    await journey.sent(order.order_id)
    assert (await rough.effects(order.order_id)).sessions == 0
    await rough.stack.start("interview")
    await rough.came_to(order.order_id, PAID)


async def test_proof_17_durable_consumers_survive_a_restart_without_a_gap(rough: Outside) -> None:
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


async def test_proof_13_asking_payment_has_a_deadline(rough: Outside) -> None:
    """A payment that doesn't answer: UNAVAILABLE with RetryInfo, and the session is not started."""
    journey, order_id, code = await rough.prepared()
    await rough.came_to(order_id, PAID)
    rough.stack.suspend("payment")
    for call in (
        journey.start(code),
        rough.clients.interviews.CheckAccessCode(
            interview_service_pb2.CheckAccessCodeRequest(access_code=code)
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_of(refused.value) == "PAYMENT_UNAVAILABLE"
        status = rpc_status.from_call(refused.value)
        assert status is not None
        kinds = [detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details]
        assert any(kinds)
    assert (await rough.effects(order_id)).started == 0
    rough.stack.resume("payment")
    await insist(lambda: journey.start(code), "the interview")
    await rough.came_to(order_id, STARTED)


async def test_proof_16_payment_and_interview_work_while_the_broker_is_away(
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


async def test_proof_34_payment_answers_while_smtp_is_blocked(rough: Outside) -> None:
    """The mailbox keeps connections and answers nobody; the mail arrives when it is back."""
    rough.stack.suspend("mailbox")
    journey = rough.journey()
    order = await journey.order()
    payment = await journey.pay(order.order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    await journey.prepared(order.order_id)
    assert rough.mails(journey) == []
    rough.stack.resume("mailbox")
    await rough.came_to(order.order_id, PAID)
    assert len({mail["Message-ID"] for mail in rough.mails(journey)}) == 1
