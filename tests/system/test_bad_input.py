"""Invalid input to every method: a documented error, and no row is written.

The inputs are derived from the contracts: each field of each request gets invalid values.
"""

import random
import re
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
from tests.builders.payment_requests import create_order_request
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.payments import list_payments
from tests.system.drivers.running_stack import RunningStack

_ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
_MAX_REQUEST_BYTES = 1_048_576
# Never issued: fifteen zeros and their check symbol.
_UNKNOWN_CODE = "0000-0000-0000-0000"
_MUTATIONS = (
    "CreateOrder",
    "CreatePayment",
    "CreateRefund",
    "CancelOrder",
    "IngestPaymentNotification",
    "DismissPaymentNotification",
    "RevokeAccessCode",
    "SuspendAccessCode",
    "ReinstateAccessCode",
    "ReissueAccessCode",
    "StartSession",
    "ResendNotification",
    "DismissNotification",
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
_DOCUMENTED_REASONS = {
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
        "PAYMENT_NOTIFICATION_NOT_FOUND",
    },
    grpc.StatusCode.FAILED_PRECONDITION: {"PRICE_MISMATCH", "AMOUNT_MISMATCH"},
    grpc.StatusCode.UNAUTHENTICATED: {"NOTIFICATION_SIGNATURE_INVALID"},
}
# Violations are explained in words.
_REGULAR_EXPRESSION = re.compile(r"\^|\\p|\[[aA]|0-9A")
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
    "é" * 700_000,  # more than the server accepts
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
# Fields of valid requests about objects that do not exist, so that no request has an effect.
_VALID_FIELDS: dict[str, Any] = {
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
    "payment_notification_id": f"pnt_{_ULID}",
    "reason": "a reason",
    "access_code": _UNKNOWN_CODE,
    "payment_method": "sandbox_approve",
    "recipient": access_code_pb2.Recipient(email="nobody@example.com"),
    "body": b"{}",
}
# A valid customer id would set the mail preferences of that customer.
_OMITTED = {("UpdateMailPreferences", "customer_id")}
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
    # Their valid requests always have an effect.
    if method.name not in {"RepublishEvents", "RetryParkedEvents"}
]


def _valid_request(method: MethodDescriptor) -> Message:
    request = GetMessageClass(method.input_type)()
    for field in method.input_type.fields:
        if field.name not in _VALID_FIELDS or (field.containing_oneof and field.name != "order_id"):
            continue
        if (method.name, field.name) in _OMITTED:
            continue
        value = _VALID_FIELDS[field.name]
        if isinstance(value, Message):
            getattr(request, field.name).CopyFrom(value)
        else:
            setattr(request, field.name, value)
    return request


def _with_invalid_field(request: Message) -> Iterator[Message]:
    """The request with one field after the other set to invalid values."""
    for field in request.DESCRIPTOR.fields:
        if _is_map(field):
            for key, value in (("k", "v" * 70_000), ("k" * 70_000, "v"), ("\x00", "\x00")):
                yield _with_pairs(request, field.name, {key: value})
            many = {f"{number}-{'k' * 300}": "v" * 10 for number in range(300)}
            yield _with_pairs(request, field.name, many)
        elif field.is_repeated:
            inner = field.message_type._concrete_class()
            for value in (inner, *_with_invalid_field(inner)):
                copy = _copy(request)
                getattr(copy, field.name).extend([value] * 100)
                yield copy
        elif field.message_type is not None:
            for inner in (field.message_type._concrete_class(), getattr(request, field.name)):
                for value in (inner, *_with_invalid_field(inner)):
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
    yield b"\x0a\xff"  # its length exceeds the rest
    yield b"\xff" * 16
    yield b"\x00"
    yield b"x" * 1_500_000
    generator = random.Random(20261122)  # noqa: S311  repeatable
    for size in (1, 3, 8, 64, 1024):
        for _ in range(4):
            yield generator.randbytes(size)


def _inputs(method: MethodDescriptor) -> Iterator[bytes]:
    empty = GetMessageClass(method.input_type)()
    for request in (empty, _valid_request(method)):
        yield request.SerializeToString()
        for invalid in _with_invalid_field(request):
            yield invalid.SerializeToString()
    yield from _garbage()


def _is_documented(error: grpc.aio.AioRpcError, data: bytes) -> bool:
    if len(data) > _MAX_REQUEST_BYTES:  # refused by gRPC itself
        return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    if _REGULAR_EXPRESSION.search(error.details() or ""):
        return False
    return reason_of(error) in _DOCUMENTED_REASONS.get(error.code(), ())


def _abbreviated(data: bytes) -> str:
    return f"{data[:60]!r} ({len(data)} bytes)"


@pytest.mark.parametrize(("server", "method"), METHODS)
async def test_invalid_input_gets_a_documented_error_and_writes_nothing(
    shared_stack: RunningStack, server: str, method: MethodDescriptor
) -> None:
    """Never UNKNOWN or INTERNAL; every error of a service has a google.rpc.ErrorInfo."""
    await shared_stack.wait_until_idle()
    before = await shared_stack.row_counts()
    unexpected = []
    async with shared_stack.channel(server, method.name) as channel:
        call = channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
        for data in _inputs(method):
            try:
                await call(data, timeout=10)
            except grpc.aio.AioRpcError as error:
                if not _is_documented(error, data):
                    unexpected.append(
                        f"{error.code().name}: {error.details()} <- {_abbreviated(data)}"
                    )
            else:
                if method.name in _MUTATIONS:
                    unexpected.append(f"OK <- {_abbreviated(data)}")
    assert unexpected == []
    await shared_stack.wait_until_idle()
    assert await shared_stack.row_counts() == before


@pytest.mark.parametrize("server", _SERVERS)
@pytest.mark.parametrize("request_id", ["", "two words", "x" * 65, "\x00", "é"])
async def test_events_are_republished_and_retried_with_a_valid_request_id_only(
    shared_stack: RunningStack, server: str, request_id: str
) -> None:
    """The rest of the request is valid."""
    ops = shared_stack.clients.ops[server]
    republish = ops_service_pb2.RepublishEventsRequest(
        request_id=request_id, since=Timestamp(seconds=1)
    )
    with raises_rpc_error("INVALID_REQUEST"):
        await ops.RepublishEvents(republish)
    with raises_rpc_error("INVALID_REQUEST"):
        await ops.RetryParkedEvents(ops_service_pb2.RetryParkedEventsRequest(request_id=request_id))


_INVALID_ORDER_FIELDS = {
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
    "a customer id with a space": {"customer_id": "a b"},
    "a customer id of 64 KiB": {"customer_id": "a" * 65_536},
    "no request id": {"request_id": ""},
}
_ORDER_ERROR_REASONS = {
    "unknown currency": "CURRENCY_NOT_SUPPORTED",
    "another price": "PRICE_MISMATCH",
    "another currency": "PRICE_MISMATCH",
    "unknown product": "PRODUCT_NOT_FOUND",
}


@pytest.mark.parametrize("fault", _INVALID_ORDER_FIELDS)
async def test_an_order_with_one_invalid_field_is_refused(
    shared_stack: RunningStack, fault: str
) -> None:
    """All other fields are valid; the reason names the kind of the fault."""
    fields: dict[str, Any] = {
        "request_id": shared_stack.journey().name,
        "customer_id": "customer",
        "product_id": "backend-60",
        "recipient": {"email": "customer@example.com"},
    }
    request = payment_service_pb2.CreateOrderRequest(**{**fields, **_INVALID_ORDER_FIELDS[fault]})
    await shared_stack.wait_until_idle()
    before = await shared_stack.row_counts()
    with raises_rpc_error(_ORDER_ERROR_REASONS.get(fault, "INVALID_REQUEST")):
        await shared_stack.clients.payments.CreateOrder(request)
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
    """Than the order's price; no payment is created."""
    journey = shared_stack.journey()
    order = await journey.order()
    request = payment_service_pb2.CreatePaymentRequest(
        request_id=journey.name,
        order_id=order.order_id,
        payment_method="sandbox_approve",
        amount=amount,
    )
    with raises_rpc_error(reason):
        await shared_stack.clients.payments.CreatePayment(request)
    assert not await list_payments(shared_stack, order.order_id)


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
    async with grpc.aio.insecure_channel(shared_stack.devstack.address(server)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary(method)(b"", timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_pages_hold_every_entry_once_and_a_broken_page_token_is_refused(
    shared_stack: RunningStack,
) -> None:
    """A token that is cut short or changed is INVALID_PAGE_TOKEN."""
    journey = shared_stack.journey()
    created = []
    for number in range(5):
        request = create_order_request(
            journey.name, journey.email, request_id=f"{journey.name}-{number}"
        )
        created.append((await shared_stack.clients.payments.CreateOrder(request)).order.order_id)
    listed, tokens = [], [""]
    while True:
        page = await shared_stack.clients.payments.ListOrders(
            payment_service_pb2.ListOrdersRequest(
                page_size=2, customer_id=journey.name, page_token=tokens[-1]
            )
        )
        listed += [order.order_id for order in page.orders]
        if not page.next_page_token:
            break
        tokens.append(page.next_page_token)
    assert listed == sorted(created, reverse=True)
    for broken in (tokens[1][:-3], tokens[1] + "A", "%%%", "\x00"):
        with raises_rpc_error("INVALID_PAGE_TOKEN"):
            await shared_stack.clients.payments.ListOrders(
                payment_service_pb2.ListOrdersRequest(page_token=broken)
            )
