"""A customer sees only what is theirs; what is others' is not found."""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
import pytest_asyncio

from clients import Clients
from devstack.demo.journey import Journey
from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2, payment_service_pb2
from runtime.auth.authentication import Role
from tests.system.drivers.running_stack import RunningStack

MINE, OTHERS = "mei.lin", "somebody.else"


@pytest_asyncio.fixture(loop_scope="session")
async def customer(shared_stack: RunningStack) -> AsyncIterator[Clients]:
    async with shared_stack.stack.connect(
        shared_stack.stack.keys.token(MINE, Role.CUSTOMER)
    ) as clients:
        yield clients


async def code_of(call: Awaitable[object]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code()


def order_request(customer_id: str, request_id: str) -> payment_service_pb2.CreateOrderRequest:
    return payment_service_pb2.CreateOrderRequest(
        request_id=request_id,
        customer_id=customer_id,
        product_id="backend-60",
        recipient=access_code_pb2.Recipient(email="mei@example.com"),
    )


async def test_a_customer_orders_for_themselves_only(
    customer: Clients, shared_stack: RunningStack
) -> None:
    name = shared_stack.journey().name
    mine = await customer.payments.CreateOrder(order_request(MINE, name))
    assert mine.order.customer_id == MINE
    refused = await code_of(customer.payments.CreateOrder(order_request(OTHERS, f"{name}-2")))
    assert refused is grpc.StatusCode.PERMISSION_DENIED


async def test_the_whole_journey_is_open_to_the_customer(
    customer: Clients, shared_stack: RunningStack
) -> None:
    journey = Journey(customer, shared_stack.stack.mail_dir)
    request = order_request(MINE, journey.name)
    request.recipient.email = journey.email
    order = (await customer.payments.CreateOrder(request)).order
    await journey.pay(order.order_id)
    await journey.prepared(order.order_id)
    session = await journey.start(await journey.code_from_mail())
    found = await customer.interviews.GetSession(
        interview_service_pb2.GetSessionRequest(session_id=session.session_id)
    )
    assert found.session.customer_id == MINE
    assert (await journey.sent(order.order_id)).order_id == order.order_id


async def test_others_things_are_not_found(customer: Clients, shared_stack: RunningStack) -> None:
    journey = shared_stack.journey()
    order = await journey.order()
    payment = await journey.pay(order.order_id)
    session = await journey.prepared(order.order_id)
    sent = await journey.sent(order.order_id)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: customer.payments.GetOrder(
            payment_service_pb2.GetOrderRequest(order_id=order.order_id)
        ),
        lambda: customer.payments.CreatePayment(
            payment_service_pb2.CreatePaymentRequest(
                request_id=journey.name, order_id=order.order_id, payment_method="sandbox_approve"
            )
        ),
        lambda: customer.payments.GetPayment(
            payment_service_pb2.GetPaymentRequest(payment_id=payment.payment_id)
        ),
        lambda: customer.interviews.GetSession(
            interview_service_pb2.GetSessionRequest(session_id=session.session_id)
        ),
        lambda: customer.notifications.GetNotification(
            notification_service_pb2.GetNotificationRequest(notification_id=sent.notification_id)
        ),
    ]
    assert {await code_of(call()) for call in calls} == {grpc.StatusCode.NOT_FOUND}


async def test_lists_hold_only_what_is_the_customers(
    customer: Clients, shared_stack: RunningStack
) -> None:
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    await journey.prepared(order_id)
    await journey.sent(order_id)
    orders = await customer.payments.ListOrders(payment_service_pb2.ListOrdersRequest())
    assert {order.customer_id for order in orders.orders} <= {MINE}
    others = payment_service_pb2.ListOrdersRequest(customer_id=journey.name)
    assert not (await customer.payments.ListOrders(others)).orders
    payments = payment_service_pb2.ListPaymentsRequest(order_id=order_id)
    assert not (await customer.payments.ListPayments(payments)).payments
    sessions = interview_service_pb2.ListSessionsRequest(order_id=order_id)
    assert not (await customer.interviews.ListSessions(sessions)).sessions
    mails = notification_service_pb2.ListNotificationsRequest(order_id=order_id)
    assert not (await customer.notifications.ListNotifications(mails)).notifications


async def test_a_customer_learns_of_a_code_no_more_than_its_validity(
    customer: Clients, shared_stack: RunningStack
) -> None:
    journey = shared_stack.journey()
    await journey.paid_order()
    code = await journey.code_from_mail()
    reply = await customer.codes.ValidateAccessCode(
        access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
    )
    assert reply.valid
    assert not reply.HasField("record")


async def test_malformed_and_unknown_codes_get_customers_one_answer(customer: Clients) -> None:
    answers = set()
    for code in ("0000-0000-0000-0000", "not a code"):
        reply = await customer.codes.ValidateAccessCode(
            access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
        )
        reply.ClearField("as_of")
        preview = await customer.interviews.CheckAccessCode(
            interview_service_pb2.CheckAccessCodeRequest(access_code=code)
        )
        answers.add((str(reply), str(preview)))
    assert len(answers) == 1
