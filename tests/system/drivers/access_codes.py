"""What an operator does to access codes, and what becomes of it at interview."""

import secrets
from typing import Any

from clients import Clients
from payment.v1 import access_code_pb2, access_code_service_pb2
from tests.system.drivers.running_stack import RunningStack


async def change(
    clients: Clients, verb: str, code_id: str, request_id: str = ""
) -> access_code_pb2.AccessCode:
    """Revoke, Suspend, Reinstate or Reissue; the record after it."""
    request = getattr(access_code_service_pb2, f"{verb}AccessCodeRequest")(
        request_id=request_id or secrets.token_hex(8),
        access_code_id=code_id,
        reason=f"{verb} it",
    )
    reply: Any = await getattr(clients.codes, f"{verb}AccessCode")(request)
    record: access_code_pb2.AccessCode = reply.record
    return record


async def record_of(outside: RunningStack, order_id: str) -> access_code_pb2.AccessCode:
    """The order's current code, as payment tells it."""
    request = access_code_service_pb2.GetAccessCodeRequest(order_id=order_id)
    return (await outside.clients.codes.GetAccessCode(request)).record


async def revoke(outside: RunningStack, order_id: str) -> access_code_pb2.AccessCode:
    """Withdraws the order's code; its record afterwards."""
    request = access_code_service_pb2.RevokeAccessCodeRequest(
        request_id=f"{order_id}-revoke",
        access_code_id=(await record_of(outside, order_id)).id,
        reason="asked by the test",
    )
    return (await outside.clients.codes.RevokeAccessCode(request)).record


async def suspend(outside: RunningStack, order_id: str) -> access_code_pb2.AccessCode:
    """Holds the order's code back; its record afterwards."""
    request = access_code_service_pb2.SuspendAccessCodeRequest(
        request_id=f"{order_id}-suspend",
        access_code_id=(await record_of(outside, order_id)).id,
        reason="asked by the test",
    )
    return (await outside.clients.codes.SuspendAccessCode(request)).record


async def reinstate(outside: RunningStack, order_id: str) -> access_code_pb2.AccessCode:
    """Lifts the operator's hold; the code's record afterwards."""
    request = access_code_service_pb2.ReinstateAccessCodeRequest(
        request_id=f"{order_id}-reinstate",
        access_code_id=(await record_of(outside, order_id)).id,
        reason="asked by the test",
    )
    return (await outside.clients.codes.ReinstateAccessCode(request)).record


async def interview_heard(outside: RunningStack, order_id: str, status: str) -> None:
    """Waits until interview's copy of the order's code has a status."""
    heard = "SELECT status = $2 FROM interview.cached_codes WHERE order_id = $1"
    await outside.until_true(heard, order_id, status)


async def feed_is_fresh(outside: RunningStack) -> None:
    """Waits until interview has a watermark of payment's that counts."""
    await outside.until_true(
        "SELECT EXISTS (SELECT FROM interview.payment_watermark"
        " WHERE covered_as_of > now() - interval '10 minutes')"
    )


async def code_expired(outside: RunningStack, order_id: str) -> None:
    """Lets the order's code run out: the superuser moves its time back."""
    await outside.rows(
        "UPDATE payment.access_codes SET expire_at = now() - interval '1 minute'"
        " WHERE order_id = $1",
        order_id,
    )
