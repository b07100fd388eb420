"""interview → payment by query: with its own identity interview reads from payment, no more.

Every mutating call of payment answers it PERMISSION_DENIED and changes nothing.
"""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from clients import Clients
from contract.v1 import options_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2, events_pb2, payment_service_pb2
from tests.system.drivers.access_codes import validate_access_code
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.running_stack import RunningStack

_QUERY_PREFIXES = ("Get", "List", "Validate", "Check")
_METHODS = [
    method
    for service in (
        payment_service_pb2.DESCRIPTOR.services_by_name["PaymentService"],
        access_code_service_pb2.DESCRIPTOR.services_by_name["AccessCodeService"],
    )
    for method in service.methods
]
MUTATIONS = [
    f"/{method.containing_service.full_name}/{method.name}"
    for method in _METHODS
    if not method.name.startswith(_QUERY_PREFIXES)
]


@pytest_asyncio.fixture(loop_scope="session")
async def interview(shared_stack: RunningStack) -> AsyncIterator[Clients]:
    """Calls with interview's identity: signed with its key, as a service."""
    token = shared_stack.service_token("interview")
    async with shared_stack.devstack.connect(token) as clients:
        yield clients


def test_the_contract_opens_two_queries_to_interview() -> None:
    """Of all calls of payment: ValidateAccessCode and GetAccessCode."""
    open_to_interview = {
        method.name
        for method in _METHODS
        if "interview" in method.GetOptions().Extensions[options_pb2.access].services
    }
    assert open_to_interview == {"ValidateAccessCode", "GetAccessCode"}


def test_the_mutating_calls_are_found_in_the_contract() -> None:
    names = {path.rpartition("/")[2] for path in MUTATIONS}
    assert {"CreateOrder", "CreatePayment", "CreateRefund", "RevokeAccessCode"} <= names


@pytest.mark.parametrize("path", MUTATIONS)
async def test_a_mutating_call_is_denied(shared_stack: RunningStack, path: str) -> None:
    """Before its request is validated: an empty one is PERMISSION_DENIED too."""
    token = shared_stack.service_token("interview")
    address = shared_stack.devstack.address("payment")
    async with grpc.aio.insecure_channel(address) as channel:
        with raises_rpc_error("METHOD_NOT_ALLOWED", grpc.StatusCode.PERMISSION_DENIED):
            await channel.unary_unary(path)(
                b"", metadata=[("authorization", f"Bearer {token}")], timeout=20
            )


async def _stored_state(stack: RunningStack, order_id: str) -> list[tuple[object, ...]]:
    """The rows of the order, its codes, their audit and its published events."""
    rows = await stack.fetch_rows(
        "SELECT o::text FROM payment.orders o WHERE order_id = $1"
        " UNION ALL SELECT c::text FROM payment.access_codes c WHERE order_id = $1"
        " UNION ALL SELECT e::text FROM payment.access_code_events e"
        "   JOIN payment.access_codes ON id = access_code_id WHERE order_id = $1"
        " UNION ALL SELECT id FROM payment.outbox_published WHERE key = $1 ORDER BY 1",
        order_id,
    )
    return [tuple(row) for row in rows]


async def test_a_denied_call_changes_nothing(
    shared_stack: RunningStack, interview: Clients
) -> None:
    """Interview tries to revoke, suspend and reissue a real code, and to refund its order."""
    _, order_id, _ = await shared_stack.prepare_session()
    await shared_stack.wait_until_idle()
    code = await shared_stack.access_code(order_id)
    before = await _stored_state(shared_stack, order_id)
    pb = access_code_service_pb2
    fields = {"request_id": order_id, "access_code_id": code.id}
    for call in (
        interview.codes.RevokeAccessCode(pb.RevokeAccessCodeRequest(**fields)),
        interview.codes.SuspendAccessCode(pb.SuspendAccessCodeRequest(**fields)),
        interview.codes.ReissueAccessCode(pb.ReissueAccessCodeRequest(**fields)),
        interview.payments.CreateRefund(
            payment_service_pb2.CreateRefundRequest(request_id=order_id, order_id=order_id)
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as denied:
            await call
        assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    await shared_stack.wait_until_idle()
    assert await shared_stack.access_code(order_id) == code
    assert await _stored_state(shared_stack, order_id) == before


async def test_its_queries_contain_no_more_of_the_order_than_payment_completed(
    shared_stack: RunningStack, interview: Clients
) -> None:
    """An operator also gets the payment; interview copies the holder and nothing else."""
    _, order_id, _ = await shared_stack.prepare_session()
    request = access_code_service_pb2.GetAccessCodeRequest(order_id=order_id)
    found = await interview.codes.GetAccessCode(request)
    full = await shared_stack.clients.codes.GetAccessCode(request)
    assert {field.name for field, _ in found.ListFields()} == {
        "record",
        "recipient",
        "customer_id",
    }
    assert full.payment_id.startswith("pay_")
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    async with shared_stack.nats() as client:
        stored = await client.jetstream().get_last_msg("PAYMENT", subject)
    published = events_pb2.PaymentCompleted.FromString(stored.data or b"")
    assert found.recipient == published.recipient
    assert found.customer_id == published.customer_id


async def test_its_queries_are_answered(shared_stack: RunningStack, interview: Clients) -> None:
    """ValidateAccessCode and GetAccessCode return the code's record."""
    _, order_id, code = await shared_stack.prepare_session()
    validated = await validate_access_code(interview, code)
    found = await interview.codes.GetAccessCode(
        access_code_service_pb2.GetAccessCodeRequest(access_code=code)
    )
    assert validated.valid
    assert validated.record == found.record
    assert found.record.order_id == order_id
    assert found.record.status == access_code_pb2.ACCESS_CODE_STATUS_ACTIVE
