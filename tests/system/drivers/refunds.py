"""Refunds, as an operator requests and follows them."""

import secrets

import grpc

from devstack.polling import wait_until
from payment.v1 import money_pb2, payment_service_pb2
from tests.system.drivers.running_stack import RunningStack


async def create_refund(
    stack: RunningStack, order_id: str, amount_minor: int | None = None, request_id: str = ""
) -> payment_service_pb2.Refund:
    """Requests a refund of an amount in fen, by default of all that is not refunded yet."""
    amount = None
    if amount_minor is not None:
        amount = money_pb2.Money(amount_minor=amount_minor, currency_code="CNY")
    request = payment_service_pb2.CreateRefundRequest(
        request_id=request_id or secrets.token_hex(8),
        order_id=order_id,
        amount=amount,
        reason="changed my mind",
    )
    return (await stack.clients.payments.CreateRefund(request)).refund


async def get_refund(stack: RunningStack, refund_id: str) -> payment_service_pb2.Refund:
    request = payment_service_pb2.GetRefundRequest(refund_id=refund_id)
    return (await stack.clients.payments.GetRefund(request)).refund


async def list_refunds(stack: RunningStack, order_id: str) -> list[payment_service_pb2.Refund]:
    """The order's refunds, newest first."""
    request = payment_service_pb2.ListRefundsRequest(order_id=order_id)
    return list((await stack.clients.payments.ListRefunds(request)).refunds)


async def wait_for_refund(
    stack: RunningStack, refund: payment_service_pb2.Refund, status: str
) -> payment_service_pb2.Refund:
    """Waits until a refund has a status; meanwhile payment may be restarted."""
    expected = payment_service_pb2.RefundStatus.Value(f"REFUND_STATUS_{status}")

    async def read() -> payment_service_pb2.Refund | None:
        try:
            found = await get_refund(stack, refund.refund_id)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return None
        return found if found.status == expected else None

    return await wait_until(read, f"{refund.refund_id} {status}", 60)
