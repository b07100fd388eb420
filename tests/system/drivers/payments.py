"""Orders, their payments and their money, as an operator sees them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from clients import Clients
from devstack.demo.journey import Journey
from devstack.polling import WaitTimedOut, wait_until
from payment.v1 import payment_service_pb2
from tests.system.drivers.grpc_calls import retry
from tests.system.drivers.running_stack import RunningStack


@dataclass(frozen=True)
class SurplusRefund:
    """A refund of captured money that pays no order."""

    payment_id: str
    amount_minor: int


async def get_order(stack: RunningStack, order_id: str) -> payment_service_pb2.Order:
    request = payment_service_pb2.GetOrderRequest(order_id=order_id)
    return (await stack.clients.payments.GetOrder(request)).order


async def order_status(stack: RunningStack, order_id: str) -> str:
    """The order's status without the enum's prefix, such as "PAID"."""
    status = (await get_order(stack, order_id)).status
    return payment_service_pb2.OrderStatus.Name(status).removeprefix("ORDER_STATUS_")


async def list_payments(
    stack: RunningStack, order_id: str
) -> Sequence[payment_service_pb2.Payment]:
    """The order's payments, oldest first."""
    request = payment_service_pb2.ListPaymentsRequest(order_id=order_id)
    return (await stack.clients.payments.ListPayments(request)).payments


async def get_only_payment(stack: RunningStack, order_id: str) -> payment_service_pb2.Payment:
    """The order's payment, of which there must be one."""
    (payment,) = await list_payments(stack, order_id)
    return payment


async def cancel_order(
    clients: Clients, order_id: str, request_id: str = ""
) -> payment_service_pb2.CancelOrderResponse:
    request = payment_service_pb2.CancelOrderRequest(
        order_id=order_id, request_id=request_id or secrets.token_hex(8)
    )
    return await clients.payments.CancelOrder(request)


async def pay_until_succeeded(
    journey: Journey, order_id: str, method: str = "sandbox_approve"
) -> None:
    """Repeats one payment request, also while the service is down, until it is SUCCEEDED."""

    async def is_succeeded() -> bool:
        payment = await journey.pay(order_id, method)
        return payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED

    await retry(is_succeeded, f"{order_id} paid")


async def expire_order(stack: RunningStack, order_id: str) -> None:
    """Moves the end of the order's time into the past; payment's worker closes it afterwards."""
    await stack.execute(
        "UPDATE payment.orders SET expire_at = now() - interval '1 s' WHERE order_id = $1", order_id
    )


async def order_statuses(stack: RunningStack, order_id: str) -> tuple[str, list[str]]:
    """The status of an order and of its payments, oldest first."""
    names = [
        payment_service_pb2.PaymentStatus.Name(payment.status).removeprefix("PAYMENT_STATUS_")
        for payment in await list_payments(stack, order_id)
    ]
    return await order_status(stack, order_id), names


async def wait_for_statuses(stack: RunningStack, order_id: str, order: str, *payments: str) -> None:
    """Waits until an order and its payments have these statuses."""
    found: tuple[str, list[str]] = ("", [])

    async def is_expected() -> bool:
        nonlocal found
        found = await order_statuses(stack, order_id)
        return found == (order, list(payments))

    try:
        await wait_until(is_expected, f"{order_id} {order}, {payments}")
    except WaitTimedOut as error:
        raise WaitTimedOut(f"{error}, but {found}") from None


async def list_surplus_refunds(stack: RunningStack, order_id: str) -> list[SurplusRefund]:
    """The order's refunds of surplus money, oldest first."""
    rows = await stack.fetch_rows(
        "SELECT payment_id, amount_minor FROM payment.refunds"
        " WHERE order_id = $1 AND surplus ORDER BY refund_id",
        order_id,
    )
    return [SurplusRefund(row["payment_id"], row["amount_minor"]) for row in rows]


async def wait_for_surplus_refunds(
    stack: RunningStack, order_id: str, *expected: SurplusRefund
) -> None:
    """Waits for the order's refunds of surplus money; then its ledger must balance."""

    async def is_expected() -> bool:
        return await list_surplus_refunds(stack, order_id) == list(expected)

    await wait_until(is_expected, f"{expected} of {order_id}")
    assert await ledger_imbalances(stack, order_id) == []


async def ledger_imbalances(
    stack: RunningStack, order_id: str
) -> Sequence[payment_service_pb2.LedgerEntry]:
    """The imbalances that CheckLedger finds in an order's money."""
    request = payment_service_pb2.CheckLedgerRequest(order_id=order_id)
    reply = await stack.clients.payments.CheckLedger(request)
    assert reply.checked_count == 1
    return reply.imbalances


async def wait_for_charge(stack: RunningStack, order_id: str) -> payment_service_pb2.Payment:
    """Waits until the provider's ledger holds the order's charge; the order's only payment."""

    async def exists() -> bool:
        return stack.charge_count(order_id) == 1

    await wait_until(exists, f"a charge of {order_id}")
    return await get_only_payment(stack, order_id)
