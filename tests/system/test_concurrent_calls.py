"""Many at once: one effect, and every caller gets an answer that the contract names."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

import grpc
import pytest

from clients import reason_of
from devstack.polling import wait_until
from interview.v1 import interview_service_pb2
from payment.v1 import payment_service_pb2
from runtime.protobuf import to_datetime
from tests.system.drivers.running_stack import PAID, STARTED, RunningStack, retry

AT_ONCE = 50
START = "/interview.v1.InterviewService/StartSession"


async def _outcomes(calls: list[Awaitable[object]]) -> tuple[list[object], Counter[str]]:
    """Replies, and how often each reason came; anything else raises."""
    replies, reasons = [], Counter[str]()
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, grpc.aio.AioRpcError):
            reasons[f"{outcome.code().name} {reason_of(outcome)}"] += 1
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            replies.append(outcome)
    return replies, reasons


@pytest.mark.parametrize("turn", range(3))
async def test_fifty_parallel_starts_with_one_code_start_one_session(
    shared_stack: RunningStack, turn: int
) -> None:
    """One gets the session; all others hear that the code is used."""
    journey, order_id, code = await shared_stack.prepared()
    requests = [
        interview_service_pb2.StartSessionRequest(
            request_id=f"{journey.name}-{turn}-{number}", access_code=code
        )
        for number in range(AT_ONCE)
    ]
    start = shared_stack.clients.interviews.StartSession
    replies, reasons = await _outcomes([start(request) for request in requests])
    assert len(replies) == 1
    # Whoever asked payment too late for an answer may ask again.
    assert set(reasons) <= {
        "FAILED_PRECONDITION ACCESS_CODE_REDEEMED",
        "UNAVAILABLE PAYMENT_UNAVAILABLE",
    }
    await shared_stack.wait_for_effects(order_id, STARTED)
    assert await shared_stack.stored_count(f"interview.v1.InterviewStarted.{order_id}") == 1


@pytest.mark.parametrize("turn", range(3))
async def test_fifty_parallel_starts_with_one_request_id_get_one_reply(
    shared_stack: RunningStack, turn: int
) -> None:
    """Byte for byte the same reply, also for those that come when the code is used."""
    journey, order_id, code = await shared_stack.prepared()
    request = interview_service_pb2.StartSessionRequest(
        request_id=f"{journey.name}-{turn}", access_code=code
    ).SerializeToString()
    async with shared_stack.channel("interview") as channel:
        call = channel.unary_unary(START)

        async def start() -> bytes:
            return bytes(await call(request))

        replies, reasons = await _outcomes(
            [retry(start, "the reply of the request") for _ in range(AT_ONCE)]
        )
    assert not reasons
    assert len(set(replies)) == 1
    await shared_stack.wait_for_effects(order_id, STARTED)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc, which Linux has")
async def test_a_repeat_that_is_overtaken_by_the_redemption_gets_the_first_reply(
    disruptable_stack: RunningStack,
) -> None:
    """The repeat finds no reply yet; until payment answers it, the first call redeems the code."""
    journey, order_id, code = await disruptable_stack.prepared()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    async with disruptable_stack.sql() as superuser, superuser.transaction():
        lock = "SELECT 1 FROM interview.cached_codes WHERE order_id = $1 FOR UPDATE"
        await superuser.fetch(lock, order_id)
        first = asyncio.create_task(journey.start(code))  # payment found the code valid
        await disruptable_stack.until_true("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        disruptable_stack.stack.suspend("payment")
        repeat = asyncio.create_task(journey.start(code))

        async def asked() -> bool:
            return _unread_bytes(disruptable_stack.stack.port("payment")) > 0

        await wait_until(asked, "the repeat's question to payment")
    session = await first
    async with disruptable_stack.sql(
        "payment_runtime"
    ) as connection:  # what payment does a moment later
        await connection.execute(
            "UPDATE payment.access_codes SET status = 'REDEEMED', redeemed_session_id = $2,"
            " redeemed_at = $3, version = version + 1 WHERE order_id = $1",
            order_id,
            session.session_id,
            to_datetime(session.started_at),
        )
    disruptable_stack.stack.resume("payment")
    assert await repeat == session


def _unread_bytes(port: int) -> int:
    """What was sent to a listener's connections and not read by it."""
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6")]
    lines = [line for table in tables for line in table.read_text("ascii").splitlines()]
    connections = [line.split() for line in lines if "local_address" not in line]
    return sum(
        int(fields[4].partition(":")[2], 16)
        for fields in connections
        if fields[1].endswith(f":{port:04X}")
    )


async def test_a_request_id_with_another_code_is_refused(shared_stack: RunningStack) -> None:
    """The first reply stands for the first request only."""
    first, _, code = await shared_stack.prepared()
    _, order_id, other = await shared_stack.prepared()
    await first.start(code)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await first.start(other)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert reason_of(refused.value) == "REQUEST_ID_REUSED"
    await shared_stack.wait_for_effects(order_id, PAID)


async def test_fifty_parallel_payments_of_one_order_pay_it_once(shared_stack: RunningStack) -> None:
    """One PaymentCompleted, one code, one charge."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    requests = [
        payment_service_pb2.CreatePaymentRequest(
            request_id=f"{journey.name}-{number}",
            order_id=order_id,
            payment_method="sandbox_approve",
        )
        for number in range(AT_ONCE)
    ]
    pay = shared_stack.clients.payments.CreatePayment
    replies, reasons = await _outcomes([pay(request) for request in requests])
    assert len(replies) == 1
    assert set(reasons) <= {
        "FAILED_PRECONDITION ORDER_NOT_PAYABLE",
        "FAILED_PRECONDITION PAYMENT_IN_PROGRESS",
    }
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await shared_stack.stored_count(f"payment.v1.PaymentCompleted.{order_id}") == 1
    assert shared_stack.charges(order_id) == 1


async def test_fifty_parallel_payments_with_one_request_id_are_one_payment(
    shared_stack: RunningStack,
) -> None:
    """All get the same payment, SUCCEEDED."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payments, reasons = await _outcomes([journey.pay(order_id) for _ in range(AT_ONCE)])
    assert not reasons
    assert all(payment == payments[0] for payment in payments)
    await shared_stack.wait_for_effects(order_id, PAID)
    assert shared_stack.charges(order_id) == 1


async def test_one_request_id_for_many_orders_at_once_pays_one_of_them(
    shared_stack: RunningStack,
) -> None:
    """The others hear REQUEST_ID_REUSED, however close the calls are."""
    journeys = [shared_stack.journey() for _ in range(20)]
    orders = [(await journey.order()).order_id for journey in journeys]
    requests = [
        payment_service_pb2.CreatePaymentRequest(
            request_id=journeys[0].name, order_id=order_id, payment_method="sandbox_approve"
        )
        for order_id in orders
    ]
    pay = shared_stack.clients.payments.CreatePayment
    replies, reasons = await _outcomes([pay(request) for request in requests])
    assert (len(replies), reasons) == (1, {"ALREADY_EXISTS REQUEST_ID_REUSED": len(orders) - 1})
    assert sum(shared_stack.charges(order_id) for order_id in orders) == 1


async def test_fifty_parallel_orders_with_one_request_id_are_one_order(
    shared_stack: RunningStack,
) -> None:
    """All get the same order."""
    journey = shared_stack.journey()
    orders, reasons = await _outcomes([journey.order() for _ in range(AT_ONCE)])
    assert not reasons
    assert all(order == orders[0] for order in orders)
    placed = "SELECT count(*) FROM payment.orders WHERE customer_id = $1"
    assert await shared_stack.value(placed, journey.name) == 1
