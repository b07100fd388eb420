"""payment owns Order, Payment, AccessCode: their tables are in its schema and in no other.

One order may have several payments; payment keeps all of them, declined ones too.
"""

import pytest

from payment.v1 import payment_service_pb2
from tests.system.drivers.effects import NONE, PAID
from tests.system.drivers.payments import get_order, list_payments
from tests.system.drivers.running_stack import RunningStack


@pytest.mark.parametrize("table", ["orders", "payments", "access_codes"])
async def test_the_table_is_in_payments_schema_only(shared_stack: RunningStack, table: str) -> None:
    """Payment's owner role owns it, and no role of another domain may write it."""
    rows = await shared_stack.fetch_rows(
        "SELECT schemaname, tableowner FROM pg_tables WHERE tablename = $1", table
    )
    assert [tuple(row) for row in rows] == [("payment", "payment_owner")]
    writers = await shared_stack.fetch_rows(
        "SELECT DISTINCT grantee FROM information_schema.column_privileges"
        " WHERE table_schema = 'payment' AND table_name = $1 AND privilege_type <> 'SELECT'",
        table,
    )
    assert {row["grantee"] for row in writers} == {"payment_owner", "payment_runtime"}


async def test_an_order_has_a_declined_and_a_successful_payment(shared_stack: RunningStack) -> None:
    """Both are listed; the declined one has no effect, the order has one code."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    declined = await journey.pay(order_id, "sandbox_decline")
    assert declined.failure_reason == "CARD_DECLINED"
    assert await shared_stack.effects(order_id) == NONE
    assert await journey.pay(order_id, "sandbox_decline") == declined
    approved = await journey.pay(order_id)
    assert declined.payment_id != approved.payment_id
    payments = await list_payments(shared_stack, order_id)
    assert [(payment.payment_id, payment.status) for payment in payments] == [
        (declined.payment_id, payment_service_pb2.PAYMENT_STATUS_FAILED),
        (approved.payment_id, payment_service_pb2.PAYMENT_STATUS_SUCCEEDED),
    ]
    order = await get_order(shared_stack, order_id)
    assert order.status == payment_service_pb2.ORDER_STATUS_PAID
    await shared_stack.wait_for_effects(order_id, PAID)
