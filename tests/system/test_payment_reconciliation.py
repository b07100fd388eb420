"""Asking the provider about payments without outcome: none waits behind those that stay so."""

import sqlite3
from collections.abc import AsyncIterator

import pytest

from payment.v1 import payment_service_pb2
from tests.system.drivers.running_stack import RunningStack

_MANY = 120


@pytest.fixture
async def crowd(shared_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """Payments that the provider works at for a day, all of them older than any other."""
    _crowd_at_the_provider(shared_stack)
    async with shared_stack.sql() as superuser:
        await superuser.execute(
            "INSERT INTO payment.orders (order_id, customer_id, product_id, amount_minor,"
            " currency_code, email, display_name, language_code, status, created_at, expire_at)"
            " SELECT 'ord_crowd_' || n, 'crowd', 'backend-60', 100, 'CNY', 'crowd@example.com',"
            " '', 'en', 'PENDING_PAYMENT', now(), now() + interval '1 day'"
            " FROM generate_series(1, $1::int) AS n",
            _MANY,
        )
        await superuser.execute(
            "INSERT INTO payment.payments (payment_id, order_id, amount_minor, currency_code,"
            " payment_method, status, failure_reason, caller, request_id, request_hash,"
            " created_at, updated_at)"
            " SELECT 'pay_crowd_' || n, 'ord_crowd_' || n, 100, 'CNY', 'sandbox_late',"
            " 'PROCESSING', '', 'crowd', n::text, '', now() - interval '1 hour',"
            " now() - interval '1 hour' FROM generate_series(1, $1::int) AS n",
            _MANY,
        )
        try:
            yield shared_stack
        finally:
            await superuser.execute("DELETE FROM payment.payments WHERE caller = 'crowd'")
            await superuser.execute("DELETE FROM payment.orders WHERE customer_id = 'crowd'")


def _crowd_at_the_provider(outside: RunningStack) -> None:
    ledger = sqlite3.connect(outside.stack.directory / "provider.sqlite", timeout=10)
    try:
        with ledger:
            ledger.executemany(
                "INSERT INTO charges VALUES"
                " (?, ?, ?, 100, 'CNY', 'sandbox_late', '', unixepoch() + 86400, 100, NULL)",
                [
                    (f"pay_crowd_{n}", f"cha_crowd_{n}", f"ord_crowd_{n}")
                    for n in range(1, _MANY + 1)
                ],
            )
    finally:
        ledger.close()


async def test_payments_that_stay_processing_keep_no_other_from_being_asked_about(
    crowd: RunningStack,
) -> None:
    """There are more of them than a round takes; an answer that got lost is found all the same."""
    journey = crowd.journey()
    order = await journey.order()
    payment = await journey.pay(order.order_id, "sandbox_lost")
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_UNKNOWN
    await crowd.until_true(
        "SELECT status = 'SUCCEEDED' FROM payment.payments WHERE payment_id = $1",
        payment.payment_id,
    )
    assert await crowd.value(
        "SELECT bool_and(status = 'PROCESSING') FROM payment.payments WHERE caller = 'crowd'"
    )
