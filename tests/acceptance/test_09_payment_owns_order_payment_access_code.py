"""payment owns Order, Payment, AccessCode: their tables are in its schema and in no other.

One order may need two payments; payment keeps both, the declined one too.
"""

import pytest

from payment.v1 import payment_service_pb2
from tests.system.drivers.running_stack import PAID, RunningStack


@pytest.mark.parametrize("table", ["orders", "payments", "access_codes"])
async def test_proof_09_the_table_is_in_payments_schema_only(
    shared_stack: RunningStack, table: str
) -> None:
    """It is there once, payment's owner role owns it, and no other role may write it."""
    rows = await shared_stack.rows(
        "SELECT schemaname, tableowner FROM pg_tables WHERE tablename = $1", table
    )
    assert [tuple(row) for row in rows] == [("payment", "payment_owner")]
    writers = await shared_stack.rows(
        "SELECT DISTINCT grantee FROM information_schema.column_privileges"
        " WHERE table_schema = 'payment' AND table_name = $1 AND privilege_type <> 'SELECT'",
        table,
    )
    assert {row["grantee"] for row in writers} == {"payment_owner", "payment_runtime"}


async def test_proof_09_an_order_keeps_its_two_payments(shared_stack: RunningStack) -> None:
    """The declined one and the one that paid; one code for them."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    declined = await journey.pay(order_id, "sandbox_decline")
    approved = await journey.pay(order_id)
    assert declined.payment_id != approved.payment_id
    listed = await shared_stack.clients.payments.ListPayments(
        payment_service_pb2.ListPaymentsRequest(order_id=order_id)
    )
    assert [(payment.payment_id, payment.status) for payment in listed.payments] == [
        (declined.payment_id, payment_service_pb2.PAYMENT_STATUS_FAILED),
        (approved.payment_id, payment_service_pb2.PAYMENT_STATUS_SUCCEEDED),
    ]
    order = (
        await shared_stack.clients.payments.GetOrder(
            payment_service_pb2.GetOrderRequest(order_id=order_id)
        )
    ).order
    assert order.status == payment_service_pb2.ORDER_STATUS_PAID
    await shared_stack.wait_for_effects(order_id, PAID)
