"""Money of orders as the operator and the database tell it."""

from collections.abc import Sequence
from dataclasses import dataclass

from devstack.polling import wait_until
from payment.v1 import payment_service_pb2
from tests.system.drivers.running_stack import RunningStack


@dataclass(frozen=True)
class Surplus:
    """A refund of money that backs no order."""

    payment_id: str
    amount_minor: int


async def statuses(outside: RunningStack, order_id: str) -> tuple[str, list[str]]:
    """Where an order and its payments stand."""
    order = await outside.clients.payments.GetOrder(
        payment_service_pb2.GetOrderRequest(order_id=order_id)
    )
    status = payment_service_pb2.OrderStatus.Name(order.order.status)
    found = await payments(outside, order_id)
    names = [payment_service_pb2.PaymentStatus.Name(payment.status) for payment in found]
    return status.removeprefix("ORDER_STATUS_"), [
        name.removeprefix("PAYMENT_STATUS_") for name in names
    ]


async def came_to_stand(outside: RunningStack, order_id: str, order: str, *payments: str) -> None:
    """Waits until an order and its payments stand so."""
    seen: list[object] = []

    async def look() -> bool:
        seen[:] = [await statuses(outside, order_id)]
        return seen[0] == (order, list(payments))

    try:
        await wait_until(look, f"{order_id} {order}, {payments}")
    except AssertionError as error:
        raise AssertionError(f"{error}, but {seen}") from None


async def payments(outside: RunningStack, order_id: str) -> Sequence[payment_service_pb2.Payment]:
    """An order's payments, oldest first."""
    request = payment_service_pb2.ListPaymentsRequest(order_id=order_id)
    return (await outside.clients.payments.ListPayments(request)).payments


async def surplus_refunds(outside: RunningStack, order_id: str) -> list[Surplus]:
    """Refunds of money that backs no order, oldest first."""
    rows = await outside.rows(
        "SELECT payment_id, amount_minor FROM payment.refunds"
        " WHERE order_id = $1 AND surplus ORDER BY refund_id",
        order_id,
    )
    return [Surplus(row["payment_id"], row["amount_minor"]) for row in rows]


async def came_back(outside: RunningStack, order_id: str, *wanted: Surplus) -> None:
    """Waits for refunds of surplus money; then the order's money must balance."""

    async def look() -> bool:
        return await surplus_refunds(outside, order_id) == list(wanted)

    await wait_until(look, f"{wanted} of {order_id}")
    assert await imbalances(outside, order_id) == []


async def imbalances(
    outside: RunningStack, order_id: str
) -> Sequence[payment_service_pb2.LedgerEntry]:
    """What is wrong with an order's money."""
    request = payment_service_pb2.CheckLedgerRequest(order_id=order_id)
    reply = await outside.clients.payments.CheckLedger(request)
    assert reply.checked_count == 1
    return reply.imbalances


async def let_time_run_out(outside: RunningStack, order_id: str) -> None:
    """Moves the end of an order's time into the past."""
    await outside.rows(
        "UPDATE payment.orders SET expire_at = now() - interval '1 s' WHERE order_id = $1", order_id
    )


def cancelling(order_id: str, request_id: str) -> payment_service_pb2.CancelOrderRequest:
    return payment_service_pb2.CancelOrderRequest(order_id=order_id, request_id=request_id)
