"""A customer has access to their own orders, sessions and mails only; others are not found."""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
import pytest_asyncio

from clients import Clients
from devstack.demo.journey import Journey
from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from payment.v1 import payment_service_pb2
from runtime.auth.authentication import Role
from tests.builders.payment_requests import create_order_request
from tests.system.drivers.access_codes import validate_access_code
from tests.system.drivers.running_stack import RunningStack

CUSTOMER, OTHER_CUSTOMER = "mei.lin", "somebody.else"


@pytest_asyncio.fixture(loop_scope="session")
async def customer(shared_stack: RunningStack) -> AsyncIterator[Clients]:
    """Calls by the customer "mei.lin"."""
    token = shared_stack.devstack.keys.token(CUSTOMER, Role.CUSTOMER)
    async with shared_stack.devstack.connect(token) as clients:
        yield clients


async def error_code(call: Awaitable[object]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code()


async def test_a_customer_creates_orders_for_themselves_only(
    customer: Clients, shared_stack: RunningStack
) -> None:
    name = shared_stack.journey().name
    own = create_order_request(CUSTOMER, "mei@example.com", request_id=name)
    assert (await customer.payments.CreateOrder(own)).order.customer_id == CUSTOMER
    other = customer.payments.CreateOrder(create_order_request(OTHER_CUSTOMER, "mei@example.com"))
    assert await error_code(other) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_customer_can_take_the_whole_journey(
    customer: Clients, shared_stack: RunningStack
) -> None:
    """Order, payment, mail, session and its start, with a customer's token."""
    journey = Journey(customer, shared_stack.devstack.mail_dir)
    request = create_order_request(CUSTOMER, journey.email, request_id=journey.name)
    order = (await customer.payments.CreateOrder(request)).order
    await journey.pay(order.order_id)
    await journey.wait_for_session(order.order_id)
    session = await journey.start(await journey.wait_for_mailed_code())
    found = await customer.interviews.GetSession(
        interview_service_pb2.GetSessionRequest(session_id=session.session_id)
    )
    assert found.session.customer_id == CUSTOMER
    assert (await journey.wait_for_sent_mail(order.order_id)).order_id == order.order_id


async def test_objects_of_other_customers_are_not_found(
    customer: Clients, shared_stack: RunningStack
) -> None:
    journey = shared_stack.journey()
    order = await journey.order()
    payment = await journey.pay(order.order_id)
    session = await journey.wait_for_session(order.order_id)
    notification = await journey.wait_for_sent_mail(order.order_id)
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
            notification_service_pb2.GetNotificationRequest(
                notification_id=notification.notification_id
            )
        ),
    ]
    assert {await error_code(call()) for call in calls} == {grpc.StatusCode.NOT_FOUND}


async def test_lists_contain_the_customers_own_objects_only(
    customer: Clients, shared_stack: RunningStack
) -> None:
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    await journey.wait_for_session(order_id)
    await journey.wait_for_sent_mail(order_id)
    own_orders = await customer.payments.ListOrders(payment_service_pb2.ListOrdersRequest())
    assert {order.customer_id for order in own_orders.orders} <= {CUSTOMER}
    orders = payment_service_pb2.ListOrdersRequest(customer_id=journey.name)
    assert not (await customer.payments.ListOrders(orders)).orders
    payments = payment_service_pb2.ListPaymentsRequest(order_id=order_id)
    assert not (await customer.payments.ListPayments(payments)).payments
    sessions = interview_service_pb2.ListSessionsRequest(order_id=order_id)
    assert not (await customer.interviews.ListSessions(sessions)).sessions
    notifications = notification_service_pb2.ListNotificationsRequest(order_id=order_id)
    assert not (await customer.notifications.ListNotifications(notifications)).notifications


async def test_a_validation_returns_no_record_to_a_customer(
    customer: Clients, shared_stack: RunningStack
) -> None:
    journey = shared_stack.journey()
    await journey.paid_order()
    reply = await validate_access_code(customer, await journey.wait_for_mailed_code())
    assert reply.valid
    assert not reply.HasField("record")


async def test_malformed_and_unknown_codes_get_the_same_reply(customer: Clients) -> None:
    """A customer cannot find out which codes are well-formed."""
    replies = set()
    for code in ("0000-0000-0000-0000", "not a code"):
        reply = await validate_access_code(customer, code)
        reply.ClearField("as_of")
        preview = await customer.interviews.CheckAccessCode(
            interview_service_pb2.CheckAccessCodeRequest(access_code=code)
        )
        replies.add((str(reply), str(preview)))
    assert len(replies) == 1
