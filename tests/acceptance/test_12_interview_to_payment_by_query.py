"""interview → payment by query: with its own identity interview may ask payment, not change it.

Every mutating call of payment answers it PERMISSION_DENIED and changes nothing.
"""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from clients import Clients, reason_of
from devstack.keys import AUDIENCE
from payment.v1 import (
    access_code_pb2,
    access_code_service_pb2,
    payment_service_pb2,
)
from runtime.auth.authentication import Role, TokenSigner
from tests.system.drivers.running_stack import RunningStack

_QUERIES = ("Get", "List", "Validate", "Check")
_SERVICES = (
    payment_service_pb2.DESCRIPTOR.services_by_name["PaymentService"],
    access_code_service_pb2.DESCRIPTOR.services_by_name["AccessCodeService"],
)
MUTATIONS = [
    f"/{service.full_name}/{method.name}"
    for service in _SERVICES
    for method in service.methods
    if not method.name.startswith(_QUERIES)
]


@pytest_asyncio.fixture(loop_scope="session")
async def interview(shared_stack: RunningStack) -> AsyncIterator[Clients]:
    """Calls as interview itself makes them: with its key, as a service."""
    signer = TokenSigner(shared_stack.stack.keys.private("interview"))
    token = signer.issue("interview", [*AUDIENCE], [Role.SERVICE])
    async with shared_stack.stack.connect(token) as clients:
        yield clients


def test_proof_12_the_mutating_calls_are_known() -> None:
    """The look at the contract finds them."""
    names = {path.rpartition("/")[2] for path in MUTATIONS}
    assert {"CreateOrder", "CreatePayment", "CreateRefund", "RevokeAccessCode"} <= names


@pytest.mark.parametrize("path", MUTATIONS)
async def test_proof_12_a_mutating_call_is_denied(shared_stack: RunningStack, path: str) -> None:
    """Before anything of the request is looked at."""
    signer = TokenSigner(shared_stack.stack.keys.private("interview"))
    token = signer.issue("interview", [*AUDIENCE], [Role.SERVICE])
    async with grpc.aio.insecure_channel(shared_stack.stack.address("payment")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as denied:
            await channel.unary_unary(path)(
                b"", metadata=[("authorization", f"Bearer {token}")], timeout=20
            )
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason_of(denied.value) == "METHOD_NOT_ALLOWED"


async def _standing(outside: RunningStack, order_id: str) -> list[tuple[object, ...]]:
    """Order, code, audit and announced events, as the superuser finds them."""
    rows = await outside.rows(
        "SELECT o::text FROM payment.orders o WHERE order_id = $1"
        " UNION ALL SELECT c::text FROM payment.access_codes c WHERE order_id = $1"
        " UNION ALL SELECT e::text FROM payment.access_code_events e"
        "   JOIN payment.access_codes ON id = access_code_id WHERE order_id = $1"
        " UNION ALL SELECT id FROM payment.outbox_published WHERE key = $1 ORDER BY 1",
        order_id,
    )
    return [tuple(row) for row in rows]


async def test_proof_12_a_denied_call_changes_nothing(
    shared_stack: RunningStack, interview: Clients
) -> None:
    """A code that interview tries to revoke, suspend and replace stays as it was."""
    _, order_id, _ = await shared_stack.prepared()
    await shared_stack.wait_until_idle()
    code = await shared_stack.code(order_id)
    before = await _standing(shared_stack, order_id)
    pb = access_code_service_pb2
    asked = {"request_id": order_id, "access_code_id": code.id}
    for call in (
        interview.codes.RevokeAccessCode(pb.RevokeAccessCodeRequest(**asked)),
        interview.codes.SuspendAccessCode(pb.SuspendAccessCodeRequest(**asked)),
        interview.codes.ReissueAccessCode(pb.ReissueAccessCodeRequest(**asked)),
        interview.payments.CreateRefund(
            payment_service_pb2.CreateRefundRequest(request_id=order_id, order_id=order_id)
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as denied:
            await call
        assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    await shared_stack.wait_until_idle()
    assert await shared_stack.code(order_id) == code
    assert await _standing(shared_stack, order_id) == before


async def test_proof_12_its_queries_are_answered(
    shared_stack: RunningStack, interview: Clients
) -> None:
    """ValidateAccessCode and GetAccessCode, with the whole record."""
    _, order_id, code = await shared_stack.prepared()
    validated = await interview.codes.ValidateAccessCode(
        access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
    )
    found = await interview.codes.GetAccessCode(
        access_code_service_pb2.GetAccessCodeRequest(access_code=code)
    )
    assert validated.valid
    assert validated.record == found.record
    assert found.record.order_id == order_id
    assert found.record.status == access_code_pb2.ACCESS_CODE_STATUS_ACTIVE
