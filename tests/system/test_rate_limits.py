"""What a server bounds: guesses, time, size; and how it tells in the caller's language."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from clients import Clients, reason_of
from interview.v1 import interview_service_pb2
from payment.v1 import access_code_service_pb2, payment_service_pb2
from runtime.auth.authentication import Role
from shared_model.access_code import generate
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_runner import running
from tests.system.drivers.stack_settings import settings

GUESSES = 5


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A stack that lets nobody guess for long."""
    directory: Path = tmp_path_factory.mktemp("strict")
    told = settings(directory)
    environment = {
        name: {
            **told.environment[name],
            f"{name.upper()}_FAILED_VALIDATIONS_PER_CALLER": str(GUESSES),
            f"{name.upper()}_FAILED_VALIDATIONS_PER_PEER": str(2 * GUESSES),
        }
        for name in ("payment", "interview")
    }
    told = replace(told, environment={**told.environment, **environment})
    async with running(directory, told) as stack, stack.connect() as clients:
        yield RunningStack(stack, clients)


def details(error: grpc.aio.AioRpcError) -> dict[str, object]:
    """The details of an error, by the names of their types."""
    found: dict[str, object] = {}
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for packed in status.details if status else ():
        kind = packed.type_url.rpartition(".")[2]
        message = getattr(error_details_pb2, kind)()
        packed.Unpack(message)
        found[kind] = message
    return found


async def guess(clients: Clients, number: int) -> grpc.StatusCode:
    request = interview_service_pb2.StartSessionRequest(
        request_id=f"guess-{number}", access_code="0000-0000-0000-0000"
    )
    try:
        await clients.interviews.StartSession(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            found = details(error)
            assert found["RetryInfo"].retry_delay.seconds > 0  # type: ignore[attr-defined]
            assert found["ErrorInfo"].reason == "TOO_MANY_FAILED_VALIDATIONS"  # type: ignore[attr-defined]
        return error.code()
    return grpc.StatusCode.OK


async def test_many_starts_of_one_customer_with_a_good_code_are_all_looked_at(
    strict: RunningStack,
) -> None:
    """More of them at once than may fail: one starts, the others hear that the code is used."""
    journey, _, code = await strict.prepared()

    async def start(clients: Clients, number: int) -> str:
        request = interview_service_pb2.StartSessionRequest(
            request_id=f"good-{number}", access_code=code
        )
        try:
            await clients.interviews.StartSession(request)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return "started"

    token = strict.stack.keys.token(journey.name, Role.CUSTOMER)
    async with strict.stack.connect(token) as clients:
        told = Counter(await asyncio.gather(*(start(clients, number) for number in range(50))))
    assert told == {"started": 1, "ACCESS_CODE_REDEEMED": 49}


async def test_guesses_side_by_side_are_no_more_than_one_after_another(
    strict: RunningStack,
) -> None:
    """What may fail is looked at; everything beyond is refused."""

    async def ask(clients: Clients) -> str:
        code = generate(secrets.randbelow)
        request = access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
        try:
            reply = await clients.codes.ValidateAccessCode(request)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return access_code_service_pb2.ValidationReason.Name(reply.reason)

    token = strict.stack.keys.token("many at once", Role.CUSTOMER)
    async with strict.stack.connect(token) as clients:
        told = Counter(await asyncio.gather(*(ask(clients) for _ in range(900))))
    assert told == {
        "VALIDATION_REASON_NOT_FOUND": GUESSES,
        "TOO_MANY_FAILED_VALIDATIONS": 900 - GUESSES,
    }


async def test_guessing_ends_for_a_caller_and_then_for_the_peer_but_not_for_services(
    strict: RunningStack,
) -> None:
    tokens = [strict.stack.keys.token(f"guesser-{n}", Role.CUSTOMER) for n in range(3)]
    answers = []
    for token in tokens:
        async with strict.stack.connect(token) as clients:
            answers.append([await guess(clients, number) for number in range(GUESSES + 1)])
    missing, over = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answers[:2] == [[missing] * GUESSES + [over]] * 2
    # Two callers have used up what one address may guess.
    assert answers[2] == [over] * (GUESSES + 1)
    # payment heard of it from interview, which isn't limited, and a shop has a limit of its own.
    request = access_code_service_pb2.ValidateAccessCodeRequest(access_code="0000-0000-0000-0000")
    async with strict.stack.connect(strict.stack.keys.token("other", Role.CUSTOMER)) as clients:
        reply = await clients.codes.ValidateAccessCode(request)
        assert reply.reason == access_code_service_pb2.VALIDATION_REASON_NOT_FOUND
    assert await guess(strict.clients, 0) is missing


async def test_a_good_code_is_not_a_guess(shared_stack: RunningStack) -> None:
    journey = shared_stack.journey()
    await journey.paid_order()
    code = await journey.code_from_mail()
    request = interview_service_pb2.CheckAccessCodeRequest(access_code=code)
    for _ in range(3 * GUESSES):
        assert (await shared_stack.clients.interviews.CheckAccessCode(request)).valid


@pytest.mark.parametrize(
    ("accepted", "locale", "text"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.5", "zh-CN", "订单不存在"),
        ("en-GB, zh;q=0.1", "en", "no order"),
        ("zh;q=0.2, en;q=0.7", "en", "no order"),
        ("fr, *", "en", "no order"),
        ("q=;;,;zh;q=x", "en", "no order"),
        ("", "en", "no order"),
    ],
)
async def test_an_error_speaks_the_callers_language(
    shared_stack: RunningStack, accepted: str, locale: str, text: str
) -> None:
    request = payment_service_pb2.GetOrderRequest(order_id=f"ord_{'0' * 26}")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shared_stack.clients.payments.GetOrder(
            request, metadata=(("accept-language", accepted),)
        )
    localized = details(refused.value)["LocalizedMessage"]
    assert localized.locale == locale  # type: ignore[attr-defined]
    assert text in localized.message  # type: ignore[attr-defined]


async def test_a_message_that_is_too_large_is_refused(shared_stack: RunningStack) -> None:
    token = shared_stack.stack.keys.token("large", Role.STOREFRONT)
    async with grpc.aio.insecure_channel(shared_stack.stack.address("payment")) as channel:
        call = channel.unary_unary("/payment.v1.PaymentService/CreateOrder")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"x" * 2_000_000, metadata=[("authorization", f"Bearer {token}")])
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_call_ends_at_its_deadline_and_its_payment_goes_on(
    shared_stack: RunningStack,
) -> None:
    journey = shared_stack.journey()
    order = await journey.order()
    request = payment_service_pb2.CreatePaymentRequest(
        request_id=journey.name, order_id=order.order_id, payment_method="sandbox_slow"
    )
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await shared_stack.clients.payments.CreatePayment(request, timeout=0.3)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    again = await shared_stack.clients.payments.CreatePayment(request, timeout=30)
    assert again.payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    listed = await shared_stack.clients.payments.ListPayments(
        payment_service_pb2.ListPaymentsRequest(order_id=order.order_id)
    )
    assert [one.payment_id for one in listed.payments] == [again.payment.payment_id]
