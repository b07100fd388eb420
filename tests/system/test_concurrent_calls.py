"""Concurrent calls: one effect, and every caller gets a reply or an error of the contract."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

import grpc
import pytest

from clients import reason_of
from devstack.addresses import PAYMENT_INTERNAL
from devstack.polling import wait_until
from interview.v1 import interview_service_pb2
from payment.v1 import payment_service_pb2
from runtime.protobuf import to_datetime
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.grpc_calls import raises_rpc_error, retry
from tests.system.drivers.running_stack import RunningStack

CONCURRENCY = 50
START_SESSION = "/interview.v1.InterviewService/StartSession"


async def _gather(calls: list[Awaitable[object]]) -> tuple[list[object], Counter[str]]:
    """The replies, and how often each status and reason came; other exceptions are raised."""
    replies, errors = [], Counter[str]()
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, grpc.aio.AioRpcError):
            errors[f"{outcome.code().name} {reason_of(outcome)}"] += 1
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            replies.append(outcome)
    return replies, errors


@pytest.mark.parametrize("attempt", range(3))
async def test_fifty_concurrent_starts_with_one_code_start_one_session(
    shared_stack: RunningStack, attempt: int
) -> None:
    """One call gets the session; the others get ACCESS_CODE_REDEEMED."""
    journey, order_id, code = await shared_stack.prepare_session()
    requests = [
        interview_service_pb2.StartSessionRequest(
            request_id=f"{journey.name}-{attempt}-{number}", access_code=code
        )
        for number in range(CONCURRENCY)
    ]
    start = shared_stack.clients.interviews.StartSession
    replies, errors = await _gather([start(request) for request in requests])
    assert len(replies) == 1
    # The validation of some may have timed out: they may repeat the call.
    assert set(errors) <= {
        "FAILED_PRECONDITION ACCESS_CODE_REDEEMED",
        "UNAVAILABLE PAYMENT_UNAVAILABLE",
    }
    await shared_stack.wait_for_effects(order_id, STARTED)
    assert await shared_stack.message_count(f"interview.v1.InterviewStarted.{order_id}") == 1


@pytest.mark.parametrize("attempt", range(3))
async def test_fifty_concurrent_starts_with_one_request_id_get_one_reply(
    shared_stack: RunningStack, attempt: int
) -> None:
    """The same reply, byte for byte, also for those that arrive after the redemption."""
    journey, order_id, code = await shared_stack.prepare_session()
    request = interview_service_pb2.StartSessionRequest(
        request_id=f"{journey.name}-{attempt}", access_code=code
    ).SerializeToString()
    async with shared_stack.channel("interview") as channel:
        call = channel.unary_unary(START_SESSION)

        async def start() -> bytes:
            return bytes(await call(request))

        replies, errors = await _gather(
            [retry(start, "the reply of the request") for _ in range(CONCURRENCY)]
        )
    assert not errors
    assert len(set(replies)) == 1
    await shared_stack.wait_for_effects(order_id, STARTED)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc, which Linux has")
async def test_a_repeated_start_whose_code_is_redeemed_meanwhile_gets_the_first_reply(
    disruptable_stack: RunningStack,
) -> None:
    """The repeat finds no stored reply; before payment answers it, the first call has redeemed."""
    journey, order_id, code = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    async with disruptable_stack.sql() as superuser, superuser.transaction():
        lock = "SELECT 1 FROM interview.cached_codes WHERE order_id = $1 FOR UPDATE"
        await superuser.fetch(lock, order_id)
        first = asyncio.create_task(journey.start(code))  # validated, it waits for the lock
        await disruptable_stack.wait_until_true(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        )
        disruptable_stack.devstack.suspend("payment")
        repeat = asyncio.create_task(journey.start(code))

        async def repeat_waits_for_payment() -> bool:
            return _unread_bytes(disruptable_stack.devstack.port(PAYMENT_INTERNAL)) > 0

        await wait_until(repeat_waits_for_payment, "the repeat's call to payment")
    session = await first
    async with disruptable_stack.sql("payment_runtime") as connection:
        # What payment does when it handles InterviewStarted.
        await connection.execute(
            "UPDATE payment.access_codes SET status = 'REDEEMED', redeemed_session_id = $2,"
            " redeemed_at = $3, version = version + 1 WHERE order_id = $1",
            order_id,
            session.session_id,
            to_datetime(session.started_at),
        )
    disruptable_stack.devstack.resume("payment")
    assert await repeat == session


def _unread_bytes(port: int) -> int:
    """How many bytes a listener's connections have received and it has not read."""
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6")]
    lines = [line for table in tables for line in table.read_text("ascii").splitlines()]
    connections = [line.split() for line in lines if "local_address" not in line]
    return sum(
        int(fields[4].partition(":")[2], 16)
        for fields in connections
        if fields[1].endswith(f":{port:04X}")
    )


async def test_a_request_id_with_another_code_is_refused(shared_stack: RunningStack) -> None:
    """It gets neither the first reply nor a session."""
    journey, _, code = await shared_stack.prepare_session()
    _, other_id, other_code = await shared_stack.prepare_session()
    await journey.start(code)
    with raises_rpc_error("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        await journey.start(other_code)
    await shared_stack.wait_for_effects(other_id, PAID)


async def test_fifty_concurrent_payments_of_one_order_pay_it_once(
    shared_stack: RunningStack,
) -> None:
    """There is one PaymentCompleted, one code and one charge."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    requests = [
        payment_service_pb2.CreatePaymentRequest(
            request_id=f"{journey.name}-{number}",
            order_id=order_id,
            payment_method="sandbox_approve",
        )
        for number in range(CONCURRENCY)
    ]
    create_payment = shared_stack.clients.payments.CreatePayment
    replies, errors = await _gather([create_payment(request) for request in requests])
    assert len(replies) == 1
    assert set(errors) <= {
        "FAILED_PRECONDITION ORDER_NOT_PAYABLE",
        "FAILED_PRECONDITION PAYMENT_IN_PROGRESS",
    }
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await shared_stack.message_count(f"payment.v1.PaymentCompleted.{order_id}") == 1
    assert shared_stack.charge_count(order_id) == 1


async def test_fifty_concurrent_payments_with_one_request_id_are_one_payment(
    shared_stack: RunningStack,
) -> None:
    """All calls get the same payment."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payments, errors = await _gather([journey.pay(order_id) for _ in range(CONCURRENCY)])
    assert not errors
    assert all(payment == payments[0] for payment in payments)
    await shared_stack.wait_for_effects(order_id, PAID)
    assert shared_stack.charge_count(order_id) == 1


async def test_concurrent_payments_of_many_orders_with_one_request_id_pay_one_order(
    shared_stack: RunningStack,
) -> None:
    """The others get REQUEST_ID_REUSED."""
    journeys = [shared_stack.journey() for _ in range(20)]
    orders = [(await journey.order()).order_id for journey in journeys]
    requests = [
        payment_service_pb2.CreatePaymentRequest(
            request_id=journeys[0].name, order_id=order_id, payment_method="sandbox_approve"
        )
        for order_id in orders
    ]
    create_payment = shared_stack.clients.payments.CreatePayment
    replies, errors = await _gather([create_payment(request) for request in requests])
    assert (len(replies), errors) == (1, {"ALREADY_EXISTS REQUEST_ID_REUSED": len(orders) - 1})
    assert sum(shared_stack.charge_count(order_id) for order_id in orders) == 1


async def test_fifty_concurrent_orders_with_one_request_id_are_one_order(
    shared_stack: RunningStack,
) -> None:
    """All calls get the same order."""
    journey = shared_stack.journey()
    orders, errors = await _gather([journey.order() for _ in range(CONCURRENCY)])
    assert not errors
    assert all(order == orders[0] for order in orders)
    count = "SELECT count(*) FROM payment.orders WHERE customer_id = $1"
    assert await shared_stack.fetch_value(count, journey.name) == 1
