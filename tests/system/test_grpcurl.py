"""A person at a terminal: grpcurl calls everything by reflection, opsctl reads events."""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any, TypeVar

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from interview.v1 import interview_service_pb2, session_pb2
from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_service_pb2, payment_service_pb2
from sandbox.v1 import provider_service_pb2
from tests.system.drivers.running_stack import RunningStack

M = TypeVar("M", bound=Message)
_BESIDE_PYTHON = Path(sys.executable).parent
_ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
_SERVERS = {
    "payment": (payment_service_pb2, access_code_service_pb2, ops_service_pb2),
    "interview": (interview_service_pb2, ops_service_pb2),
    "notification": (notification_service_pb2, ops_service_pb2),
    "provider": (provider_service_pb2,),
}
METHODS = {
    server: [
        method
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    for server, files in _SERVERS.items()
}
# Requests with which a call must fail, and the reason it must give; the others must succeed.
_NO_SESSION = {"session_id": f"ses_{_ULID}"}
_NO_LETTER = {"dead_letter_id": f"dlq_{_ULID}", "request_id": "g"}
_NO_CODE = {"request_id": "g", "access_code_id": f"acc_{_ULID}"}
_FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "CreateOrder": ({"request_id": "g", "customer_id": "g"}, "INVALID_REQUEST"),
    "GetOrder": ({"order_id": f"ord_{_ULID}"}, "ORDER_NOT_FOUND"),
    "CreatePayment": (
        {"request_id": "g", "order_id": f"ord_{_ULID}", "payment_method": "sandbox_approve"},
        "ORDER_NOT_FOUND",
    ),
    "GetPayment": ({"payment_id": f"pay_{_ULID}"}, "PAYMENT_NOT_FOUND"),
    "payment.v1.PaymentService/CreateRefund": (
        {"request_id": "g", "order_id": f"ord_{_ULID}"},
        "ORDER_NOT_FOUND",
    ),
    "payment.v1.PaymentService/GetRefund": ({"refund_id": f"ref_{_ULID}"}, "REFUND_NOT_FOUND"),
    "RevokeAccessCode": (_NO_CODE, "ACCESS_CODE_NOT_FOUND"),
    "SuspendAccessCode": (_NO_CODE, "ACCESS_CODE_NOT_FOUND"),
    "ReinstateAccessCode": (_NO_CODE, "ACCESS_CODE_NOT_FOUND"),
    "ReissueAccessCode": (_NO_CODE, "ACCESS_CODE_NOT_FOUND"),
    "ListAccessCodeEvents": ({"access_code_id": f"acc_{_ULID}"}, "ACCESS_CODE_NOT_FOUND"),
    "IngestPaymentNotification": ({"body": "e30="}, "NOTIFICATION_SIGNATURE_INVALID"),
    "GetAccessCode": ({"access_code": "nonsense"}, "ACCESS_CODE_NOT_FOUND"),
    "StartSession": ({"request_id": "g", "access_code": "nonsense"}, "ACCESS_CODE_NOT_FOUND"),
    "GetSession": ({"session_id": f"ses_{_ULID}"}, "SESSION_NOT_FOUND"),
    "GetNextQuestion": ({**_NO_SESSION, "request_id": "g"}, "SESSION_NOT_FOUND"),
    "SubmitAnswer": (
        {**_NO_SESSION, "request_id": "g", "question_id": "q", "answer": "a"},
        "SESSION_NOT_FOUND",
    ),
    "CompleteSession": ({**_NO_SESSION, "request_id": "g"}, "SESSION_NOT_FOUND"),
    "CancelSession": ({**_NO_SESSION, "request_id": "g"}, "SESSION_NOT_FOUND"),
    "ListQARecords": (_NO_SESSION, "SESSION_NOT_FOUND"),
    "CreateFeedback": (
        {**_NO_SESSION, "request_id": "g", "rating": 3, "summary": "g"},
        "SESSION_NOT_FOUND",
    ),
    "GetFeedback": (_NO_SESSION, "FEEDBACK_NOT_FOUND"),
    "GetNotification": ({"notification_id": f"ntf_{_ULID}"}, "NOTIFICATION_NOT_FOUND"),
    "ResendNotification": (
        {"notification_id": f"ntf_{_ULID}", "request_id": "g"},
        "NOTIFICATION_NOT_FOUND",
    ),
    "PreviewEmail": ({"event_type": "nonsense"}, "EVENT_TYPE_WITHOUT_MAIL"),
    "DeleteSuppression": (
        {"email": "nobody@example.com", "request_id": "g"},
        "SUPPRESSION_NOT_FOUND",
    ),
    "GetDeadLetter": ({"dead_letter_id": f"dlq_{_ULID}"}, "DEAD_LETTER_NOT_FOUND"),
    "ReplayDeadLetter": (
        {"dead_letter_id": f"dlq_{_ULID}", "request_id": "g"},
        "DEAD_LETTER_NOT_FOUND",
    ),
    "DiscardDeadLetter": (
        {"dead_letter_id": f"dlq_{_ULID}", "request_id": "g"},
        "DEAD_LETTER_NOT_FOUND",
    ),
    "CancelOrder": ({"request_id": "g", "order_id": f"ord_{_ULID}"}, "ORDER_NOT_FOUND"),
    "GetCharge": ({"idempotency_key": "g"}, "CHARGE_NOT_FOUND"),
    "sandbox.v1.ProviderService/CreateRefund": (
        {"idempotency_key": "g", "charge_key": "g", "amount_minor": 1},
        "CHARGE_NOT_FOUND",
    ),
    "sandbox.v1.ProviderService/GetRefund": ({"idempotency_key": "g"}, "REFUND_NOT_FOUND"),
    "CreateCharge": (
        {
            "idempotency_key": "g",
            "order_id": "g",
            "amount_minor": 1,
            "currency_code": "CNY",
            "payment_method": "cash",
        },
        "PAYMENT_METHOD_UNKNOWN",
    ),
}
_WORKING: dict[str, dict[str, Any]] = {
    "CreateSuppression": {"email": "grpcurl@example.com", "request_id": "g"},
    "GetMailPreferences": {"customer_id": "grpcurl"},
    "UpdateMailPreferences": {"customer_id": "grpcurl", "request_id": "g"},
    "RepublishEvents": {"request_id": "g", "since": "2200-01-01T00:00:00Z"},
    "RetryParkedEvents": {"request_id": "g"},
    "ListPayments": {"order_id": f"ord_{_ULID}"},
    "CancelCharge": {"idempotency_key": "closed before it was used"},
    "ValidateAccessCode": {"access_code": "nonsense"},
    "CheckAccessCode": {"access_code": "nonsense"},
}


@pytest.fixture(scope="module")
def grpcurl() -> str:
    """The program; its package is for Linux on x86-64 only."""
    found = shutil.which("grpcurl", path=str(_BESIDE_PYTHON)) or shutil.which("grpcurl")
    if found is None:
        pytest.skip("there is no grpcurl beside Python or on the PATH")
    return found


async def _run(*command: str, given: bytes = b"") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate(given)
    return process.returncode or 0, said.decode(), complained.decode()


async def _call(
    shared_stack: RunningStack, grpcurl: str, server: str, method: str, request: dict[str, Any]
) -> tuple[int, str, str]:
    token = shared_stack.token(method)
    header = ("-H", f"authorization: Bearer {token}")
    address = shared_stack.stack.address(server)
    return await _run(grpcurl, "-plaintext", *header, "-d", json.dumps(request), address, method)


@pytest.mark.parametrize("server", METHODS)
async def test_reflection_lists_every_service_of_the_contracts(
    shared_stack: RunningStack, grpcurl: str, server: str
) -> None:
    """Its own, health and reflection itself."""
    status, said, complained = await _run(
        grpcurl, "-plaintext", shared_stack.stack.address(server), "list"
    )
    assert status == 0, complained
    expected = {method.containing_service.full_name for method in METHODS[server]}
    listed = set(said.split())
    assert listed == expected | {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize(
    ("server", "method"),
    [
        pytest.param(server, method, id=f"{server}-{method.name}")
        for server, methods in METHODS.items()
        for method in methods
    ],
)
async def test_grpcurl_calls_every_method_and_shows_error_details(
    shared_stack: RunningStack, grpcurl: str, server: str, method: MethodDescriptor
) -> None:
    """A refusal shows google.rpc.ErrorInfo in words; a success its reply as JSON."""
    name = f"{method.containing_service.full_name}/{method.name}"
    if failing := _FAILING.get(name) or _FAILING.get(method.name):
        request, reason = failing
        status, _, complained = await _call(shared_stack, grpcurl, server, name, request)
        assert status != 0
        shown = "".join(complained.split())
        assert '"@type":"type.googleapis.com/google.rpc.ErrorInfo"' in shown
        assert f'"reason":"{reason}"' in shown
        if reason == "INVALID_REQUEST":
            assert '"@type":"type.googleapis.com/google.rpc.BadRequest"' in shown
            assert '"field":"recipient"' in shown
        assert f'"domain":"{method.containing_service.file.package}"' in shown
    else:
        request = _WORKING.get(method.name, {})
        status, said, complained = await _call(shared_stack, grpcurl, server, name, request)
        assert status == 0, complained
        json.loads(said)


async def test_a_journey_by_grpcurl_alone(shared_stack: RunningStack, grpcurl: str) -> None:
    """Order, pay, ask for the code, start."""
    payment, interview = "payment", "interview"
    name = shared_stack.journey().name

    async def call(server: str, method: str, reply: M, **request: Any) -> M:
        status, said, complained = await _call(shared_stack, grpcurl, server, method, request)
        assert status == 0, complained
        return json_format.Parse(said, reply)

    ordered = await call(
        payment,
        "payment.v1.PaymentService/CreateOrder",
        payment_service_pb2.CreateOrderResponse(),
        request_id=name,
        customer_id=name,
        product_id="backend-60",
        recipient={"email": f"{name}@example.com"},
    )
    order_id = ordered.order.order_id
    paid = await call(
        payment,
        "payment.v1.PaymentService/CreatePayment",
        payment_service_pb2.CreatePaymentResponse(),
        request_id=name,
        order_id=order_id,
        payment_method="sandbox_approve",
    )
    assert paid.payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    await shared_stack.until_true(
        "SELECT EXISTS (SELECT FROM interview.sessions WHERE order_id = $1)", order_id
    )
    found = await call(
        payment,
        "payment.v1.AccessCodeService/GetAccessCode",
        access_code_service_pb2.GetAccessCodeResponse(),
        order_id=order_id,
    )
    started = await call(
        interview,
        "interview.v1.InterviewService/StartSession",
        interview_service_pb2.StartSessionResponse(),
        request_id=name,
        access_code=found.record.code.lower(),
    )
    assert started.session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
    assert started.session.order_id == order_id


async def test_opsctl_decodes_what_is_on_the_bus(shared_stack: RunningStack) -> None:
    """One readable line; code and address masked unless asked for. As `nats sub --translate`."""
    opsctl = str(_BESIDE_PYTHON / "opsctl")
    journey, order_id, code = await shared_stack.prepared()
    message = await shared_stack.stored(f"payment.v1.PaymentCompleted.{order_id}")
    subject, body = str(message.subject), message.data or b""
    status, said, complained = await _run(opsctl, "decode", subject, given=body)
    assert (status, complained, said.count("\n")) == (0, "", 1)
    shown = json.loads(said)
    assert shown["order_id"] == order_id
    assert shown["access_code"] == f"****-****-****-{code[-4:]}"
    assert code not in said
    assert journey.email not in said
    _, revealed, _ = await _run(opsctl, "decode", "--reveal", subject, given=body)
    assert json.loads(revealed)["access_code"] == code
    assert json.loads(revealed)["recipient"]["email"] == journey.email


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("payment.v1.PaymentCompleted.ord_x", b"\xff\xff"),
        ("payment.v1.NoSuchEvent.ord_x", b""),
        ("nonsense", b""),
        ("", b""),
        ("no_such.v1.Event.x", b""),
    ],
)
async def test_opsctl_says_what_it_cannot_decode(subject: str, body: bytes) -> None:
    """One line on standard error and status 1; no traceback."""
    opsctl = str(_BESIDE_PYTHON / "opsctl")
    status, said, complained = await _run(opsctl, "decode", subject, given=body)
    assert (status, said) == (1, "")
    assert complained.startswith("opsctl: ")
    assert "Traceback" not in complained
