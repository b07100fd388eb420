"""Bad input to every call: a documented refusal, and no row is written.

The inputs are made from the contracts: each field of each request gets values that no field wants.
"""

import random
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from clients import reason_of
from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2, payment_service_pb2
from tests.system.drivers.running_stack import RunningStack

_ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
_LARGEST = 1_048_576
# Never used for a code: fifteen zeros and the check symbol that fits them.
_UNKNOWN_CODE = "0000-0000-0000-0000"
_MUTATIONS = (
    "CreateOrder",
    "CreatePayment",
    "CreateRefund",
    "CancelOrder",
    "IngestPaymentNotification",
    "RevokeAccessCode",
    "SuspendAccessCode",
    "ReinstateAccessCode",
    "ReissueAccessCode",
    "StartSession",
    "ResendNotification",
    "CreateSuppression",
    "DeleteSuppression",
    "UpdateMailPreferences",
    "GetNextQuestion",
    "SubmitAnswer",
    "CompleteSession",
    "CancelSession",
    "CreateFeedback",
    "ReplayDeadLetter",
    "DiscardDeadLetter",
)
_DOCUMENTED = {
    grpc.StatusCode.INVALID_ARGUMENT: {
        "INVALID_REQUEST",
        "INVALID_PAGE_TOKEN",
        "CURRENCY_NOT_SUPPORTED",
        "PAYMENT_METHOD_UNKNOWN",
        "NOTIFICATION_MALFORMED",
        "EVENT_TYPE_WITHOUT_MAIL",
    },
    grpc.StatusCode.NOT_FOUND: {
        "PRODUCT_NOT_FOUND",
        "ORDER_NOT_FOUND",
        "PAYMENT_NOT_FOUND",
        "REFUND_NOT_FOUND",
        "ACCESS_CODE_NOT_FOUND",
        "SESSION_NOT_FOUND",
        "FEEDBACK_NOT_FOUND",
        "NOTIFICATION_NOT_FOUND",
        "DEAD_LETTER_NOT_FOUND",
    },
    grpc.StatusCode.FAILED_PRECONDITION: {"PRICE_MISMATCH", "AMOUNT_MISMATCH"},
    grpc.StatusCode.UNAUTHENTICATED: {"NOTIFICATION_SIGNATURE_INVALID"},
}
_STRINGS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\x1b[31m",
    "\r\nBcc: all@example.com",
    "' OR 1=1 --",
    "../../etc/passwd",
    "\u202e\u0000",
    "💥",
    "x" * 65_536,
    "é" * 700_000,  # more than the server takes
)
_VALUES: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.TYPE_STRING: _STRINGS,
    FieldDescriptor.TYPE_BOOL: (),
    FieldDescriptor.TYPE_BYTES: (b"", b"\x00", b"\xff" * 100, b"{" * 65_536, b"x" * 70_000),
    FieldDescriptor.TYPE_INT32: (-1, 501, 2**31 - 1, -(2**31)),
    FieldDescriptor.TYPE_INT64: (-1, 10**12 + 1, 2**63 - 1, -(2**63)),
    FieldDescriptor.TYPE_ENUM: (99, -1, 2**31 - 1),
    FieldDescriptor.TYPE_BOOL: (True,),
}
# Requests that keep their contract and name what doesn't exist, so that none has an effect.
_FORMED: dict[str, Any] = {
    "request_id": "r-1",
    "customer_id": "nobody",
    "product_id": "no-such-product",
    "order_id": f"ord_{_ULID}",
    "payment_id": f"pay_{_ULID}",
    "refund_id": f"ref_{_ULID}",
    "access_code_id": f"acc_{_ULID}",
    "session_id": f"ses_{_ULID}",
    "notification_id": f"ntf_{_ULID}",
    "dead_letter_id": f"dlq_{_ULID}",
    "access_code": _UNKNOWN_CODE,
    "payment_method": "sandbox_approve",
    "recipient": access_code_pb2.Recipient(email="nobody@example.com"),
    "body": b"{}",
}
# Whoever is named may say which mails they want, so that there nobody is named.
_UNNAMED = {("UpdateMailPreferences", "customer_id")}
_SERVERS = {
    "payment": (payment_service_pb2, access_code_service_pb2, ops_service_pb2),
    "interview": (interview_service_pb2, ops_service_pb2),
    "notification": (notification_service_pb2, ops_service_pb2),
}
METHODS = [
    pytest.param(server, method, id=f"{server}-{method.name}")
    for server, files in _SERVERS.items()
    for file in files
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    # Any moment is a good one for the first, and both have an effect.
    if method.name not in {"RepublishEvents", "RetryParkedEvents"}
]


def _formed(method: MethodDescriptor) -> Message:
    request = GetMessageClass(method.input_type)()
    for field in method.input_type.fields:
        if field.name not in _FORMED or (field.containing_oneof and field.name != "order_id"):
            continue
        if (method.name, field.name) in _UNNAMED:
            continue
        value = _FORMED[field.name]
        if isinstance(value, Message):
            getattr(request, field.name).CopyFrom(value)
        else:
            setattr(request, field.name, value)
    return request


def _spoiled(request: Message) -> Iterator[Message]:
    """The request with one field after the other set to what it doesn't want."""
    for field in request.DESCRIPTOR.fields:
        if _is_map(field):
            for key, value in (("k", "v" * 70_000), ("k" * 70_000, "v"), ("\x00", "\x00")):
                yield _with_pairs(request, field.name, {key: value})
            many = {f"{number}-{'k' * 300}": "v" * 10 for number in range(300)}
            yield _with_pairs(request, field.name, many)
        elif field.is_repeated:
            inner = field.message_type._concrete_class()
            for value in (inner, *_spoiled(inner)):
                copy = _copy(request)
                getattr(copy, field.name).extend([value] * 100)
                yield copy
        elif field.message_type is not None:
            for inner in (field.message_type._concrete_class(), getattr(request, field.name)):
                spoiled = [inner, *_spoiled(inner)]
                for value in spoiled:
                    copy = _copy(request)
                    getattr(copy, field.name).CopyFrom(value)
                    yield copy
        else:
            for value in _VALUES[field.type]:
                copy = _copy(request)
                setattr(copy, field.name, value)
                yield copy


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def _with_pairs(request: Message, name: str, pairs: dict[str, str]) -> Message:
    copy = _copy(request)
    getattr(copy, name).update(pairs)
    return copy


def _copy(request: Message) -> Message:
    copy = type(request)()
    copy.CopyFrom(request)
    return copy


def _garbage() -> Iterator[bytes]:
    yield b"\x0a\x02\xff\xff"  # a string that isn't UTF-8
    yield b"\x0a\xff"  # promises more than comes
    yield b"\xff" * 16
    yield b"\x00"
    yield b"x" * 1_500_000
    chance = random.Random(20261122)  # noqa: S311  the same garbage every time
    for size in (1, 3, 8, 64, 1024):
        for _ in range(4):
            yield chance.randbytes(size)


def _inputs(method: MethodDescriptor) -> Iterator[bytes]:
    empty, formed = GetMessageClass(method.input_type)(), _formed(method)
    for request in (empty, formed):
        yield request.SerializeToString()
        for spoiled in _spoiled(request):
            yield spoiled.SerializeToString()
    yield from _garbage()


def _documented(error: grpc.aio.AioRpcError, data: bytes) -> bool:
    if len(data) > _LARGEST:  # gRPC itself refuses it, before the service sees it
        return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return reason_of(error) in _DOCUMENTED.get(error.code(), ())


def _shown(data: bytes) -> str:
    return f"{data[:60]!r} ({len(data)} bytes)"


@pytest.mark.parametrize(("server", "method"), METHODS)
async def test_bad_input_gets_a_documented_refusal_and_writes_nothing(
    shared_stack: RunningStack, server: str, method: MethodDescriptor
) -> None:
    """Never UNKNOWN or INTERNAL; every refusal of a service carries google.rpc.ErrorInfo."""
    await shared_stack.wait_until_idle()
    before = await shared_stack.row_counts()
    unexpected = []
    async with shared_stack.channel(server, method.name) as channel:
        call = channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
        for data in _inputs(method):
            try:
                await call(data, timeout=10)
            except grpc.aio.AioRpcError as error:
                if not _documented(error, data):
                    unexpected.append(f"{error.code().name}: {error.details()} <- {_shown(data)}")
            else:
                if method.name in _MUTATIONS:
                    unexpected.append(f"OK <- {_shown(data)}")
    assert unexpected == []
    await shared_stack.wait_until_idle()
    assert await shared_stack.row_counts() == before


@pytest.mark.parametrize("server", _SERVERS)
@pytest.mark.parametrize("request_id", ["", "two words", "x" * 65, "\x00", "é"])
async def test_nothing_is_published_again_without_a_proper_request_id(
    shared_stack: RunningStack, server: str, request_id: str
) -> None:
    """Where any other field may have an effect: refused before anything is looked at."""
    since = Timestamp(seconds=1)
    ops = shared_stack.clients.ops[server]
    calls = (
        (ops.RepublishEvents, ops_service_pb2.RepublishEventsRequest(since=since)),
        (ops.RetryParkedEvents, ops_service_pb2.RetryParkedEventsRequest()),
    )
    for call, request in calls:
        request.request_id = request_id
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(request)
        assert reason_of(refused.value) == "INVALID_REQUEST"


_ORDERS = {
    "negative money": {"expected_price": {"amount_minor": -1, "currency_code": "CNY"}},
    "huge money": {"expected_price": {"amount_minor": 2**63 - 1, "currency_code": "CNY"}},
    "no currency": {"expected_price": {"amount_minor": 19900}},
    "lower-case currency": {"expected_price": {"amount_minor": 19900, "currency_code": "cny"}},
    "unknown currency": {"expected_price": {"amount_minor": 19900, "currency_code": "XTS"}},
    "another price": {"expected_price": {"amount_minor": 1, "currency_code": "CNY"}},
    "another currency": {"expected_price": {"amount_minor": 19900, "currency_code": "USD"}},
    "unknown product": {"product_id": "backend-61"},
    "no recipient": {"recipient": None},
    "no address": {"recipient": {"display_name": "李华"}},
    "two addresses": {"recipient": {"email": "a@example.com, b@example.com"}},
    "a line break in the address": {"recipient": {"email": "a@example.com\r\nBcc: b@example.com"}},
    "a line break in the name": {
        "recipient": {"email": "a@example.com", "display_name": "a\r\nBcc: b@example.com"}
    },
    "a NUL in the name": {"recipient": {"email": "a@example.com", "display_name": "a\x00"}},
    "an unknown language": {"recipient": {"email": "a@example.com", "language_code": "fr"}},
    "a customer with a blank": {"customer_id": "a b"},
    "a customer of 64 KiB": {"customer_id": "a" * 65_536},
    "no request id": {"request_id": ""},
}
_ORDER_REASONS = {
    "unknown currency": "CURRENCY_NOT_SUPPORTED",
    "another price": "PRICE_MISMATCH",
    "another currency": "PRICE_MISMATCH",
    "unknown product": "PRODUCT_NOT_FOUND",
}


@pytest.mark.parametrize("fault", _ORDERS)
async def test_one_fault_in_a_good_order_refuses_it(shared_stack: RunningStack, fault: str) -> None:
    """All but one field is right; the reason says which kind of fault it is."""
    fields: dict[str, Any] = {
        "request_id": shared_stack.journey().name,
        "customer_id": "customer",
        "product_id": "backend-60",
        "recipient": {"email": "customer@example.com"},
    }
    request = payment_service_pb2.CreateOrderRequest(**{**fields, **_ORDERS[fault]})
    await shared_stack.wait_until_idle()
    before = await shared_stack.row_counts()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shared_stack.clients.payments.CreateOrder(request)
    assert reason_of(refused.value) == _ORDER_REASONS.get(fault, "INVALID_REQUEST")
    assert await shared_stack.row_counts() == before


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        ({"amount_minor": 19901, "currency_code": "CNY"}, "AMOUNT_MISMATCH"),
        ({"amount_minor": 19900, "currency_code": "USD"}, "AMOUNT_MISMATCH"),
        ({"amount_minor": 0, "currency_code": "CNY"}, "AMOUNT_MISMATCH"),
        ({"amount_minor": -19900, "currency_code": "CNY"}, "INVALID_REQUEST"),
        ({"amount_minor": 2**62, "currency_code": "CNY"}, "INVALID_REQUEST"),
        ({"amount_minor": 19900, "currency_code": ""}, "INVALID_REQUEST"),
    ],
)
async def test_a_payment_of_another_amount_is_refused(
    shared_stack: RunningStack, amount: dict[str, Any], reason: str
) -> None:
    """An amount is compared with the order's price, and no payment is begun."""
    journey = shared_stack.journey()
    order = await journey.order()
    request = payment_service_pb2.CreatePaymentRequest(
        request_id=journey.name,
        order_id=order.order_id,
        payment_method="sandbox_approve",
        amount=amount,
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shared_stack.clients.payments.CreatePayment(request)
    assert reason_of(refused.value) == reason
    listed = payment_service_pb2.ListPaymentsRequest(order_id=order.order_id)
    assert not (await shared_stack.clients.payments.ListPayments(listed)).payments


@pytest.mark.parametrize(
    "method",
    [
        "/payment.v1.PaymentService/NoSuchMethod",
        "/payment.v1.NoSuchService/GetOrder",
        "/interview.v1.InterviewService/GetOrder",
        "/",
        "/x",
    ],
)
@pytest.mark.parametrize("server", ["payment", "interview", "notification"])
async def test_an_unknown_method_is_unimplemented(
    shared_stack: RunningStack, server: str, method: str
) -> None:
    """Nobody serves what isn't in the contract."""
    if server == "payment" and method.endswith("v1.PaymentService/GetOrder"):
        pytest.skip("that one exists")
    async with grpc.aio.insecure_channel(shared_stack.stack.address(server)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(method)(b"", timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_broken_page_token_is_refused_and_a_good_one_goes_on(
    shared_stack: RunningStack,
) -> None:
    """Pages hold every entry once; a token cut short is INVALID_PAGE_TOKEN."""
    journey = shared_stack.journey()
    placed = []
    for number in range(5):
        request = payment_service_pb2.CreateOrderRequest(
            request_id=f"{journey.name}-{number}",
            customer_id=journey.name,
            product_id="backend-60",
            recipient=access_code_pb2.Recipient(email=journey.email),
        )
        placed.append((await shared_stack.clients.payments.CreateOrder(request)).order.order_id)
    found, token, tokens = [], "", []
    while True:
        page = await shared_stack.clients.payments.ListOrders(
            payment_service_pb2.ListOrdersRequest(
                page_size=2, customer_id=journey.name, page_token=token
            )
        )
        found += [order.order_id for order in page.orders]
        if not (token := page.next_page_token):
            break
        tokens.append(token)
    assert found == sorted(placed, reverse=True)
    for broken in (tokens[0][:-3], tokens[0] + "A", "%%%", "\x00"):
        request = payment_service_pb2.ListOrdersRequest(page_token=broken)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await shared_stack.clients.payments.ListOrders(request)
        assert reason_of(refused.value) == "INVALID_PAGE_TOKEN"
