"""The report on payments and refunds without a final outcome."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from devstack.stack import Stack
from payment.v1 import payment_service_pb2
from payment_svc.domain.money import Money
from payment_svc.domain.payments import Captured, OutcomeUnknown
from payment_svc.domain.refunds import Refund, RefundOutcomeUnknown
from payment_svc.messages import settlement
from tests.builders.payment import PRICE, make_order, make_paid_order, make_payment
from tests.integration.drivers.databases import ServiceDatabase, open_database

CREATED_AT = datetime.now(UTC) - timedelta(days=2)
HOUR = timedelta(hours=1)
_TABLES = ("orders", "payments", "refunds", "provider_notifications", "outbox")


@pytest.fixture
async def schema(migrated_stack: Stack, servers: Stack) -> AsyncIterator[ServiceDatabase]:
    """Payment's schema without a process."""
    del servers  # restores a server that the test stopped
    async with open_database(migrated_stack, "payment", _TABLES) as database:
        yield database


async def reply(
    schema: ServiceDatabase, error: str = ""
) -> payment_service_pb2.GetSettlementStatusResponse:
    async with schema.transactions.read_only() as uow:
        status = await uow.settlement.read(CREATED_AT + HOUR)
    return settlement.reply(status, error)


async def test_without_payments_nothing_waits(schema: ServiceDatabase) -> None:
    """Nor is the provider unavailable: no call needs it."""
    found = await reply(schema, "refused")
    assert found == payment_service_pb2.GetSettlementStatusResponse(
        payments=found.payments,
        refunds_waiting_for_interview=found.refunds_waiting_for_interview,
        refunds_waiting_for_provider=found.refunds_waiting_for_provider,
        provider_available=True,
        oldest_quarantined_notification_age=Duration(),
    )
    for unsettled in (found.payments, found.refunds_waiting_for_provider):
        assert (unsettled.count, unsettled.unknown_count, unsettled.cause) == (0, 0, "")
        assert unsettled.oldest_age.ToNanoseconds() == 0


async def test_an_error_of_this_process_does_not_count_when_another_has_got_all_replies(
    schema: ServiceDatabase,
) -> None:
    """A payment that waits for its customer tells nothing about the provider."""
    async with schema.transactions.transaction() as uow:
        await uow.orders.save(make_order())
        await uow.payments.save(make_payment())
    found = await reply(schema, "the provider replied UNAVAILABLE")
    assert found.provider_available
    assert found.payments.cause == "the provider has not reported an outcome"


async def test_open_payments_are_counted_with_age_and_cause(schema: ServiceDatabase) -> None:
    outcomes = {"pay_1": None, "pay_2": OutcomeUnknown(), "pay_3": Captured(PRICE)}
    async with schema.transactions.transaction() as uow:
        for number, (payment_id, outcome) in enumerate(outcomes.items()):
            order_id = f"ord_{number}"
            await uow.orders.save(make_order(order_id=order_id))
            payment = make_payment(payment_id=payment_id, order_id=order_id)
            payment.request_id, payment.created_at = payment_id, CREATED_AT
            payment.submit(CREATED_AT)
            if outcome:
                payment.settle(outcome, CREATED_AT)
            await uow.payments.save(payment)
    found = await reply(schema)
    assert (found.payments.count, found.payments.unknown_count) == (2, 1)
    assert found.payments.oldest_age.ToTimedelta() > timedelta(days=1)
    assert found.payments.oldest_unknown_age.ToTimedelta() > timedelta(days=1)
    assert (found.payments.cause, found.provider_available) == (
        "the provider's reply was lost",
        True,
    )
    found = await reply(schema, "the provider replied UNAVAILABLE")
    assert found.payments.cause == "the provider replied UNAVAILABLE"
    assert not found.provider_available


async def test_refunds_are_counted_where_they_wait(schema: ServiceDatabase) -> None:
    async with schema.transactions.transaction() as uow:
        for number, full in enumerate((True, False, False)):
            order = make_paid_order()
            order.order_id, order.payment_id = f"ord_{number}", f"pay_{number}"
            await uow.orders.save(order)
            payment = make_payment(payment_id=order.payment_id, order_id=order.order_id)
            payment.request_id = payment.payment_id
            await uow.payments.save(payment)
            amount = None if full else Money(1, PRICE.currency_code)
            refund = Refund.of_order(
                f"ref_{number}",
                order,
                amount,
                "",
                CREATED_AT if number < 2 else CREATED_AT + 2 * HOUR,
            )
            if number == 1:
                refund.settle(RefundOutcomeUnknown(), order, None, CREATED_AT)
            await uow.refunds.save(refund)
    found = await reply(schema)
    interview, provider = found.refunds_waiting_for_interview, found.refunds_waiting_for_provider
    assert (interview.count, interview.unknown_count, interview.overdue_count) == (1, 0, 1)
    assert interview.cause == "interview has not replied"
    assert (provider.count, provider.unknown_count, provider.overdue_count) == (2, 1, 1)
    assert not (await reply(schema, "refused")).provider_available
