"""A repeated call: of whom, and while its first call is running."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest
import pytest_asyncio
from google.protobuf.message import Message

from clients import Clients, Service
from devstack.polling import wait_until
from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_pb2, money_pb2, payment_service_pb2
from runtime.auth.authentication import Role
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.interviews import started_interview
from tests.system.drivers.refunds import wait_for_refund
from tests.system.drivers.running_stack import RunningStack

Reply = TypeVar("Reply", bound=Message)
_KEY = "caller = $1 AND method = $2 AND request_id = $3"


@dataclass
class TwoCallers:
    """Two shops that send the same request, with the same request id."""

    first: Clients
    second: Clients

    async def effects(self, call: Callable[[Clients], Awaitable[Reply]]) -> tuple[Reply, Reply]:
        """The reply to each; checks that a repeat by each of them gets its own again."""
        replies = await call(self.first), await call(self.second)
        assert (await call(self.first), await call(self.second)) == replies
        return replies


@pytest_asyncio.fixture(loop_scope="session")
async def callers(shared_stack: RunningStack) -> AsyncIterator[TwoCallers]:
    names = "first-shop", "second-shop"
    keys, connect = shared_stack.devstack.keys, shared_stack.devstack.connect
    first, second = [connect(keys.token(name, Role.STOREFRONT, Role.OPERATOR)) for name in names]
    async with first, second:
        yield TwoCallers(first, second)


async def test_payment_answers_the_same_request_of_another_caller_anew(
    shared_stack: RunningStack, callers: TwoCallers
) -> None:
    """By an effect of its own, or by what prevents it; never by the reply to the first caller."""
    request_id = secrets.token_hex(8)
    order = payment_service_pb2.CreateOrderRequest(
        request_id=request_id,
        customer_id=request_id,
        product_id="backend-60",
        recipient=access_code_pb2.Recipient(
            email=f"{request_id}@example.com", display_name="Li", language_code="en"
        ),
    )
    orders = await callers.effects(lambda clients: clients.payments.CreateOrder(order))
    assert orders[0].order.order_id != orders[1].order.order_id
    pay = payment_service_pb2.CreatePaymentRequest(
        request_id=request_id,
        order_id=orders[0].order.order_id,
        payment_method="sandbox_decline",
    )
    payments = await callers.effects(lambda clients: clients.payments.CreatePayment(pay))
    assert payments[0].payment.payment_id != payments[1].payment.payment_id
    cancel = payment_service_pb2.CancelOrderRequest(
        request_id=request_id, order_id=orders[0].order.order_id
    )
    cancelled = await callers.first.payments.CancelOrder(cancel)
    with raises_rpc_error("ORDER_NOT_CANCELLABLE"):
        await callers.second.payments.CancelOrder(cancel)
    assert await callers.first.payments.CancelOrder(cancel) == cancelled
    refund = payment_service_pb2.CreateRefundRequest(
        request_id=request_id,
        order_id=await shared_stack.journey().paid_order(),
        amount=money_pb2.Money(amount_minor=100, currency_code="CNY"),
        reason="late",
    )
    first = await callers.first.payments.CreateRefund(refund)
    await wait_for_refund(shared_stack, first.refund, "SUCCEEDED")
    second = await callers.second.payments.CreateRefund(refund)
    assert first.refund.refund_id != second.refund.refund_id


async def test_interview_answers_the_same_request_of_another_caller_anew(
    shared_stack: RunningStack, callers: TwoCallers
) -> None:
    _, _, code = await shared_stack.prepare_session()
    start = interview_service_pb2.StartSessionRequest(
        request_id=secrets.token_hex(8), access_code=code
    )
    started = await callers.first.interviews.StartSession(start)
    with raises_rpc_error("ACCESS_CODE_REDEEMED"):
        await callers.second.interviews.StartSession(start)
    assert await callers.first.interviews.StartSession(start) == started


async def test_notification_answers_the_same_request_of_another_caller_anew(
    shared_stack: RunningStack, callers: TwoCallers
) -> None:
    journey = shared_stack.journey()
    mail = await journey.wait_for_sent_mail(await journey.paid_order())
    resend = notification_service_pb2.ResendNotificationRequest(
        request_id=secrets.token_hex(8), notification_id=mail.notification_id
    )
    first = await callers.first.notifications.ResendNotification(resend)
    second = await callers.second.notifications.ResendNotification(resend)
    assert first.notification.notification_id != second.notification.notification_id


@pytest.mark.parametrize("service", Service)
async def test_an_operation_on_any_service_is_stored_for_its_caller(
    shared_stack: RunningStack, callers: TwoCallers, service: Service
) -> None:
    request_id = secrets.token_hex(8)
    retry = ops_service_pb2.RetryParkedEventsRequest(request_id=request_id)
    await callers.effects(lambda clients: clients.ops[service].RetryParkedEvents(retry))
    stored = await shared_stack.fetch_rows(
        f"SELECT caller FROM {service}.request_replies WHERE request_id = $1 ORDER BY caller",  # noqa: S608
        request_id,
    )
    assert [row["caller"] for row in stored] == [
        "operator+storefront:first-shop",
        "operator+storefront:second-shop",
    ]


async def test_repeated_feedback_whose_first_call_commits_meanwhile_gets_the_first_reply(
    shared_stack: RunningStack,
) -> None:
    """The repeat waits at its claim until the first call commits; the session is EVALUATED then."""
    interview = await started_interview(shared_stack)
    await interview.complete()
    create_feedback = shared_stack.clients.interviews.CreateFeedback
    request = interview_service_pb2.CreateFeedbackRequest(
        request_id="first", session_id=interview.session_id, rating=4, summary="Good."
    )
    first = await create_feedback(request)
    async with shared_stack.sql() as superuser:
        (stored,) = await superuser.fetch(
            "SELECT * FROM interview.request_replies"
            " WHERE method LIKE '%.CreateFeedbackResponse' AND request_id = 'first'"
        )
        key = (stored["caller"], stored["method"], stored["request_id"])
        await superuser.execute(f"DELETE FROM interview.request_replies WHERE {_KEY}", *key)  # noqa: S608
        # The state before the first call commits: its claim blocks the claim of the repeat.
        async with superuser.transaction():
            await superuser.execute(
                "INSERT INTO interview.request_replies VALUES ($1, $2, $3, $4, $5, $6)",
                *stored.values(),
            )
            repeat = asyncio.ensure_future(create_feedback(request))

            async def repeat_waits() -> bool:
                return bool(
                    await shared_stack.fetch_value(
                        "SELECT EXISTS (SELECT FROM pg_stat_activity"
                        " WHERE usename = 'interview_runtime' AND wait_event_type = 'Lock'"
                        " AND query LIKE '%' || $1 || '%')",
                        "INSERT INTO interview.request_replies",
                    )
                )

            await wait_until(repeat_waits, "the repeat's claim")
    assert await repeat == first
