"""Limits of a server: failed validations, request size, deadlines; and the language of errors."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2

from clients import Clients, error_details, reason_of
from devstack.polling import wait_until
from interview.v1 import interview_service_pb2
from payment.v1 import access_code_service_pb2, payment_service_pb2
from runtime.auth.authentication import Role
from shared_model.access_code import generate
from tests.system.drivers.access_codes import validate_access_code
from tests.system.drivers.payments import list_payments
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_settings import restore, suspend
from tests.system.drivers.stacks import changed_settings

UNKNOWN_CODE = "0000-0000-0000-0000"
FAILURES_PER_CALLER = 5
LIMITS = {
    service: {
        f"{service.upper()}_FAILED_VALIDATIONS_PER_CALLER": str(FAILURES_PER_CALLER),
        f"{service.upper()}_FAILED_VALIDATIONS_PER_PEER": str(2 * FAILURES_PER_CALLER),
    }
    for service in ("payment", "interview")
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def limited_stack(_disruptable_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """A stack that allows few failed validations."""
    await restore(_disruptable_stack)
    async with changed_settings(_disruptable_stack, LIMITS):
        yield _disruptable_stack
    suspend(_disruptable_stack)


async def start_with_unknown_code(clients: Clients, number: int) -> grpc.StatusCode:
    """The status code of a start that fails its validation or exceeds the limit."""
    request = interview_service_pb2.StartSessionRequest(
        request_id=f"unknown-{number}", access_code=UNKNOWN_CODE
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clients.interviews.StartSession(request)
    if raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        assert reason_of(raised.value) == "TOO_MANY_FAILED_VALIDATIONS"
        (retry_info,) = error_details(raised.value, error_details_pb2.RetryInfo)
        assert retry_info.retry_delay.seconds > 0
    return raised.value.code()


async def test_concurrent_starts_with_a_valid_code_are_not_limited(
    limited_stack: RunningStack,
) -> None:
    """More than may fail: one starts the session, the others get ACCESS_CODE_REDEEMED."""
    journey, _, code = await limited_stack.prepare_session()

    async def start(clients: Clients, number: int) -> str:
        request = interview_service_pb2.StartSessionRequest(
            request_id=f"valid-{number}", access_code=code
        )
        try:
            await clients.interviews.StartSession(request)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return "started"

    token = limited_stack.devstack.keys.token(journey.name, Role.CUSTOMER)
    async with limited_stack.devstack.connect(token) as clients:
        outcomes = await asyncio.gather(*(start(clients, number) for number in range(50)))
    assert Counter(outcomes) == {"started": 1, "ACCESS_CODE_REDEEMED": 49}


async def test_concurrent_failed_validations_are_limited_exactly(
    limited_stack: RunningStack,
) -> None:
    """As many as the limit fail; all others are refused."""
    # No more than the server lets wait to be accepted.
    concurrent = asyncio.Semaphore(100)

    async def validate(clients: Clients) -> str:
        try:
            async with concurrent:
                reply = await validate_access_code(clients, generate(secrets.randbelow))
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return access_code_service_pb2.ValidationReason.Name(reply.reason)

    token = limited_stack.devstack.keys.token("concurrent", Role.CUSTOMER)
    async with limited_stack.devstack.connect(token) as clients:
        outcomes = await asyncio.gather(*(validate(clients) for _ in range(900)))
    assert Counter(outcomes) == {
        "VALIDATION_REASON_NOT_FOUND": FAILURES_PER_CALLER,
        "TOO_MANY_FAILED_VALIDATIONS": 900 - FAILURES_PER_CALLER,
    }


async def test_failed_validations_are_limited_by_caller_and_by_peer_but_not_for_services(
    limited_stack: RunningStack,
) -> None:
    codes = []
    for caller in range(3):
        token = limited_stack.devstack.keys.token(f"caller-{caller}", Role.CUSTOMER)
        async with limited_stack.devstack.connect(token) as clients:
            attempts = range(FAILURES_PER_CALLER + 1)
            codes.append([await start_with_unknown_code(clients, number) for number in attempts])
    not_found, exhausted = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED
    assert codes[:2] == [[not_found] * FAILURES_PER_CALLER + [exhausted]] * 2
    # Two callers have reached the limit of their common address.
    assert codes[2] == [exhausted] * (FAILURES_PER_CALLER + 1)
    # Payment served interview's validations, which are not limited, and did not count them.
    token = limited_stack.devstack.keys.token("other", Role.CUSTOMER)
    async with limited_stack.devstack.connect(token) as clients:
        reply = await validate_access_code(clients, UNKNOWN_CODE)
    assert reply.reason == access_code_service_pb2.VALIDATION_REASON_NOT_FOUND
    # A storefront has a limit of its own.
    assert await start_with_unknown_code(limited_stack.clients, 0) is not_found


async def test_a_valid_code_does_not_count_as_failed(shared_stack: RunningStack) -> None:
    journey = shared_stack.journey()
    await journey.paid_order()
    code = await journey.wait_for_mailed_code()
    request = interview_service_pb2.CheckAccessCodeRequest(access_code=code)
    for _ in range(3 * FAILURES_PER_CALLER):
        assert (await shared_stack.clients.interviews.CheckAccessCode(request)).valid


@pytest.mark.parametrize(
    ("accept_language", "locale", "text"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.5", "zh-CN", "订单不存在"),
        ("en-GB, zh;q=0.1", "en", "no order"),
        ("zh;q=0.2, en;q=0.7", "en", "no order"),
        ("fr, *", "en", "no order"),
        ("q=;;,;zh;q=x", "en", "no order"),
        ("", "en", "no order"),
    ],
)
async def test_an_error_message_is_in_the_callers_language(
    shared_stack: RunningStack, accept_language: str, locale: str, text: str
) -> None:
    """By the metadata `accept-language`, with English as the default."""
    request = payment_service_pb2.GetOrderRequest(order_id=f"ord_{'0' * 26}")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await shared_stack.clients.payments.GetOrder(
            request, metadata=(("accept-language", accept_language),)
        )
    (localized,) = error_details(error.value, error_details_pb2.LocalizedMessage)
    assert localized.locale == locale
    assert text in localized.message


async def test_a_request_that_is_too_large_is_refused(shared_stack: RunningStack) -> None:
    token = shared_stack.devstack.keys.token("large", Role.STOREFRONT)
    async with grpc.aio.insecure_channel(shared_stack.devstack.address("payment")) as channel:
        call = channel.unary_unary("/payment.v1.PaymentService/CreateOrder")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(b"x" * 2_000_000, metadata=[("authorization", f"Bearer {token}")])
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_call_ends_at_its_deadline_and_its_payment_goes_on(
    shared_stack: RunningStack,
) -> None:
    """The repeated request gets the payment that the first call created."""
    journey = shared_stack.journey()
    order = await journey.order()
    request = payment_service_pb2.CreatePaymentRequest(
        request_id=journey.name, order_id=order.order_id, payment_method="sandbox_slow"
    )
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await shared_stack.clients.payments.CreatePayment(request, timeout=0.3)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    repeated = await shared_stack.clients.payments.CreatePayment(request, timeout=30)

    async def succeeded() -> bool:
        payments = await list_payments(shared_stack, order.order_id)
        assert [payment.payment_id for payment in payments] == [repeated.payment.payment_id]
        return payments[0].status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED

    await wait_until(succeeded, "the payment of the first call succeeds")
