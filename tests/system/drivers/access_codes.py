"""Access codes: an operator's calls, the end of their time, and interview's copies of them."""

import secrets
from typing import Any

from clients import Clients
from interview.v1 import interview_service_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2
from tests.system.drivers.running_stack import RunningStack


async def change_access_code(
    clients: Clients, verb: str, access_code_id: str, request_id: str = ""
) -> access_code_pb2.AccessCode:
    """Calls RevokeAccessCode, SuspendAccessCode, ReinstateAccessCode or ReissueAccessCode.

    Returns the changed record. The reason given is "<verb> requested".
    """
    request = getattr(access_code_service_pb2, f"{verb}AccessCodeRequest")(
        request_id=request_id or secrets.token_hex(8),
        access_code_id=access_code_id,
        reason=f"{verb} requested",
    )
    reply: Any = await getattr(clients.codes, f"{verb}AccessCode")(request)
    record: access_code_pb2.AccessCode = reply.record
    return record


async def get_access_code(stack: RunningStack, order_id: str) -> access_code_pb2.AccessCode:
    """The order's current access code, as payment returns it."""
    request = access_code_service_pb2.GetAccessCodeRequest(order_id=order_id)
    return (await stack.clients.codes.GetAccessCode(request)).record


async def change_current_access_code(
    stack: RunningStack, verb: str, order_id: str
) -> access_code_pb2.AccessCode:
    """Revokes, suspends, reinstates or reissues the order's current code; the changed record."""
    record = await get_access_code(stack, order_id)
    return await change_access_code(stack.clients, verb, record.id)


async def validate_access_code(
    clients: Clients, code: str, product_id: str = ""
) -> access_code_service_pb2.ValidateAccessCodeResponse:
    """Payment's answer to ValidateAccessCode."""
    request = access_code_service_pb2.ValidateAccessCodeRequest(
        access_code=code, product_id=product_id
    )
    return await clients.codes.ValidateAccessCode(request)


async def check_access_code(
    stack: RunningStack, code: str
) -> interview_service_pb2.CheckAccessCodeResponse:
    """Interview's preview: could the code start an interview now?"""
    request = interview_service_pb2.CheckAccessCodeRequest(access_code=code)
    return await stack.clients.interviews.CheckAccessCode(request)


def status_name(record: access_code_pb2.AccessCode) -> str:
    """The record's status without the enum's prefix, such as "ACTIVE"."""
    return access_code_pb2.AccessCodeStatus.Name(record.status).removeprefix("ACCESS_CODE_STATUS_")


async def expire_access_code(stack: RunningStack, order_id: str) -> None:
    """Moves the end of the code's time into the past; payment's worker sets EXPIRED afterwards."""
    await stack.execute(
        "UPDATE payment.access_codes SET expire_at = now() - interval '1 minute'"
        " WHERE order_id = $1",
        order_id,
    )


async def wait_for_cached_status(stack: RunningStack, order_id: str, status: str) -> None:
    """Waits until interview's cached copy of the order's code has a status."""
    query = "SELECT status = $2 FROM interview.cached_codes WHERE order_id = $1"
    await stack.wait_until_true(query, order_id, status)


async def wait_for_fresh_watermark(stack: RunningStack) -> None:
    """Waits until interview's cached codes are fresh: they cover payment's last minute."""
    await stack.wait_until_true(
        "SELECT EXISTS (SELECT FROM interview.payment_watermark"
        " WHERE covered_as_of > now() - interval '1 minute')"
    )
