"""On the command line: grpcurl calls every method by reflection, opsctl decodes events."""

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
_SCRIPTS = Path(sys.executable).parent
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
_UNKNOWN_SESSION = {"session_id": f"ses_{_ULID}"}
_UNKNOWN_DEAD_LETTER = {"dead_letter_id": f"dlq_{_ULID}", "request_id": "g"}
_UNKNOWN_CODE = {"request_id": "g", "access_code_id": f"acc_{_ULID}"}
# Requests that must be refused, with the reason.
_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
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
    "RevokeAccessCode": (_UNKNOWN_CODE, "ACCESS_CODE_NOT_FOUND"),
    "SuspendAccessCode": (_UNKNOWN_CODE, "ACCESS_CODE_NOT_FOUND"),
    "ReinstateAccessCode": (_UNKNOWN_CODE, "ACCESS_CODE_NOT_FOUND"),
    "ReissueAccessCode": (_UNKNOWN_CODE, "ACCESS_CODE_NOT_FOUND"),
    "ListAccessCodeEvents": ({"access_code_id": f"acc_{_ULID}"}, "ACCESS_CODE_NOT_FOUND"),
    "IngestPaymentNotification": ({"body": "e30="}, "NOTIFICATION_SIGNATURE_INVALID"),
    "GetAccessCode": ({"access_code": "nonsense"}, "ACCESS_CODE_NOT_FOUND"),
    "StartSession": ({"request_id": "g", "access_code": "nonsense"}, "ACCESS_CODE_NOT_FOUND"),
    "GetSession": ({"session_id": f"ses_{_ULID}"}, "SESSION_NOT_FOUND"),
    "GetNextQuestion": ({**_UNKNOWN_SESSION, "request_id": "g"}, "SESSION_NOT_FOUND"),
    "SubmitAnswer": (
        {**_UNKNOWN_SESSION, "request_id": "g", "question_id": "q", "answer": "a"},
        "SESSION_NOT_FOUND",
    ),
    "CompleteSession": ({**_UNKNOWN_SESSION, "request_id": "g"}, "SESSION_NOT_FOUND"),
    "CancelSession": ({**_UNKNOWN_SESSION, "request_id": "g"}, "SESSION_NOT_FOUND"),
    "ListQARecords": (_UNKNOWN_SESSION, "SESSION_NOT_FOUND"),
    "CreateFeedback": (
        {**_UNKNOWN_SESSION, "request_id": "g", "rating": 3, "summary": "g"},
        "SESSION_NOT_FOUND",
    ),
    "GetFeedback": (_UNKNOWN_SESSION, "FEEDBACK_NOT_FOUND"),
    "GetNotification": ({"notification_id": f"ntf_{_ULID}"}, "NOTIFICATION_NOT_FOUND"),
    "ResendNotification": (
        {"notification_id": f"ntf_{_ULID}", "request_id": "g"},
        "NOTIFICATION_NOT_FOUND",
    ),
    "DismissNotification": (
        {"notification_id": f"ntf_{_ULID}", "request_id": "g"},
        "NOTIFICATION_NOT_FOUND",
    ),
    "DismissPaymentNotification": (
        {"payment_notification_id": f"pnt_{_ULID}", "request_id": "g", "reason": "g"},
        "PAYMENT_NOTIFICATION_NOT_FOUND",
    ),
    "PreviewEmail": ({"event_type": "nonsense"}, "EVENT_TYPE_WITHOUT_MAIL"),
    "DeleteSuppression": (
        {"email": "nobody@example.com", "request_id": "g"},
        "SUPPRESSION_NOT_FOUND",
    ),
    "GetDeadLetter": ({"dead_letter_id": f"dlq_{_ULID}"}, "DEAD_LETTER_NOT_FOUND"),
    "ReplayDeadLetter": (
        _UNKNOWN_DEAD_LETTER,
        "DEAD_LETTER_NOT_FOUND",
    ),
    "DiscardDeadLetter": (
        _UNKNOWN_DEAD_LETTER,
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
# Requests that must succeed; methods in neither table succeed with an empty request.
_ACCEPTED: dict[str, dict[str, Any]] = {
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
    """The path of the program, whose package exists for Linux on x86-64 only."""
    program = shutil.which("grpcurl", path=str(_SCRIPTS)) or shutil.which("grpcurl")
    if program is None:
        pytest.skip("there is no grpcurl in the virtual environment or on the PATH")
    return program


async def _run(*command: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Runs a command: exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(stdin)
    return process.returncode or 0, output.decode(), errors.decode()


async def _call(
    stack: RunningStack, grpcurl: str, server: str, method: str, request: dict[str, Any]
) -> tuple[int, str, str]:
    """Calls a method by grpcurl with a token of a caller that may call it."""
    header = ("-H", f"authorization: Bearer {stack.token_for(method)}")
    address = stack.devstack.address(server)
    return await _run(grpcurl, "-plaintext", *header, "-d", json.dumps(request), address, method)


@pytest.mark.parametrize("server", METHODS)
async def test_reflection_lists_every_service_of_the_contracts(
    shared_stack: RunningStack, grpcurl: str, server: str
) -> None:
    """And health, and reflection itself."""
    status, output, errors = await _run(
        grpcurl, "-plaintext", shared_stack.devstack.address(server), "list"
    )
    assert status == 0, errors
    expected = {method.containing_service.full_name for method in METHODS[server]}
    listed = set(output.split())
    assert listed == expected | {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
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
    """A refused call prints google.rpc.ErrorInfo, others print their reply as JSON."""
    name = f"{method.containing_service.full_name}/{method.name}"
    if refused := _REFUSED.get(name) or _REFUSED.get(method.name):
        request, reason = refused
        status, _, errors = await _call(shared_stack, grpcurl, server, name, request)
        assert status != 0
        details = "".join(errors.split())
        assert '"@type":"type.googleapis.com/google.rpc.ErrorInfo"' in details
        assert f'"reason":"{reason}"' in details
        if reason == "INVALID_REQUEST":
            assert '"@type":"type.googleapis.com/google.rpc.BadRequest"' in details
            assert '"field":"recipient"' in details
        assert f'"domain":"{method.containing_service.file.package}"' in details
    else:
        request = _ACCEPTED.get(method.name, {})
        status, output, errors = await _call(shared_stack, grpcurl, server, name, request)
        assert status == 0, errors
        json.loads(output)


async def test_a_customers_journey_by_grpcurl(shared_stack: RunningStack, grpcurl: str) -> None:
    """CreateOrder, CreatePayment, GetAccessCode, StartSession."""
    payment, interview = "payment", "interview"
    name = shared_stack.journey().name

    async def call(server: str, method: str, reply: M, **request: Any) -> M:
        status, output, errors = await _call(shared_stack, grpcurl, server, method, request)
        assert status == 0, errors
        return json_format.Parse(output, reply)

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
    await shared_stack.wait_until_true(
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


async def test_opsctl_decodes_an_event(shared_stack: RunningStack) -> None:
    """As `nats sub --translate` does: to one line of JSON, masked unless `--reveal` is given."""
    opsctl = str(_SCRIPTS / "opsctl")
    journey, order_id, code = await shared_stack.prepare_session()
    message = await shared_stack.wait_for_message(f"payment.v1.PaymentCompleted.{order_id}")
    subject, body = str(message.subject), message.data or b""
    status, output, errors = await _run(opsctl, "decode", subject, stdin=body)
    assert (status, errors, output.count("\n")) == (0, "", 1)
    decoded = json.loads(output)
    assert decoded["order_id"] == order_id
    assert decoded["access_code"] == f"****-****-****-{code[-4:]}"
    assert code not in output
    assert journey.email not in output
    _, revealed, _ = await _run(opsctl, "decode", "--reveal", subject, stdin=body)
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
async def test_opsctl_reports_what_it_cannot_decode(subject: str, body: bytes) -> None:
    """By one line on standard error and exit status 1."""
    opsctl = str(_SCRIPTS / "opsctl")
    status, output, errors = await _run(opsctl, "decode", subject, stdin=body)
    assert (status, output) == (1, "")
    assert errors.startswith("opsctl: ")
    assert "Traceback" not in errors
