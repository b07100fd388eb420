"""Reconciliation of payments without an outcome with the provider."""

import sqlite3
from collections.abc import AsyncIterator

import pytest

from payment.v1 import payment_service_pb2
from tests.system.drivers.running_stack import RunningStack

_PROCESSING_PAYMENTS = 120


@pytest.fixture
async def stack_with_processing_payments(shared_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """A stack with payments that stay PROCESSING for a day and are older than all others."""
    _insert_charges(shared_stack)
    async with shared_stack.sql() as superuser:
        await superuser.execute(
            "INSERT INTO payment.orders (order_id, customer_id, product_id, amount_minor,"
            " currency_code, email, display_name, language_code, status, created_at, expire_at)"
            " SELECT 'ord_processing_' || n, 'processing', 'backend-60', 100, 'CNY',"
            " 'processing@example.com', '', 'en', 'PENDING_PAYMENT', now(),"
            " now() + interval '1 day'"
            " FROM generate_series(1, $1::int) AS n",
            _PROCESSING_PAYMENTS,
        )
        await superuser.execute(
            "INSERT INTO payment.payments (payment_id, order_id, amount_minor, currency_code,"
            " payment_method, status, failure_reason, caller, request_id, request_hash,"
            " created_at, updated_at)"
            " SELECT 'pay_processing_' || n, 'ord_processing_' || n, 100, 'CNY', 'sandbox_late',"
            " 'PROCESSING', '', 'processing', n::text, '', now() - interval '1 hour',"
            " now() - interval '1 hour' FROM generate_series(1, $1::int) AS n",
            _PROCESSING_PAYMENTS,
        )
        try:
            yield shared_stack
        finally:
            await superuser.execute("DELETE FROM payment.payments WHERE caller = 'processing'")
            await superuser.execute("DELETE FROM payment.orders WHERE customer_id = 'processing'")


def _insert_charges(stack: RunningStack) -> None:
    """Adds the charges of these payments to the provider's ledger."""
    ledger = sqlite3.connect(stack.devstack.directory / "provider.sqlite", timeout=10)
    try:
        with ledger:
            ledger.executemany(
                "INSERT INTO charges VALUES"
                " (?, ?, ?, 100, 'CNY', 'sandbox_late', '', unixepoch() + 86400, 100, NULL)",
                [
                    (f"pay_processing_{n}", f"cha_processing_{n}", f"ord_processing_{n}")
                    for n in range(1, _PROCESSING_PAYMENTS + 1)
                ],
            )
    finally:
        ledger.close()


async def test_payments_that_stay_processing_do_not_delay_others(
    stack_with_processing_payments: RunningStack,
) -> None:
    """They are more than a batch holds; another payment, whose answer was lost, is reconciled."""
    stack = stack_with_processing_payments
    journey = stack.journey()
    order = await journey.order()
    payment = await journey.pay(order.order_id, "sandbox_lost")
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_UNKNOWN
    await stack.wait_until_true(
        "SELECT status = 'SUCCEEDED' FROM payment.payments WHERE payment_id = $1",
        payment.payment_id,
    )
    assert await stack.fetch_value(
        "SELECT bool_and(status = 'PROCESSING') FROM payment.payments WHERE caller = 'processing'"
    )
