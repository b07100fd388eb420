"""Processes killed between commit, publish, mark, handling and ack: every effect occurs once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from devstack.polling import wait_until
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.running_stack import RunningStack

SERVICES = ("payment", "interview", "notification")
_ADVISORY_LOCK = 20_261_122


@asynccontextmanager
async def _locked_table(stack: RunningStack, table: str) -> AsyncIterator[None]:
    """Blocks writes to a table during the block."""
    async with stack.sql() as superuser, superuser.transaction():
        await superuser.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def _blocked_consumers(stack: RunningStack, *services: str) -> AsyncIterator[None]:
    """Consumers of these services stop before they insert the inbox row of an order's event.

    A lock on the whole table would also stop them at a watermark, before they fetch the order's
    event.
    """
    async with stack.sql() as superuser:
        for service in services:
            await superuser.execute(
                f"CREATE FUNCTION {service}.block() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN PERFORM pg_advisory_xact_lock_shared({_ADVISORY_LOCK});"
                f" RETURN NEW; END $$"
            )
            await superuser.execute(
                f"CREATE TRIGGER block BEFORE INSERT ON {service}.inbox FOR EACH ROW"
                f" WHEN (NEW.key <> '') EXECUTE FUNCTION {service}.block()"
            )
        await superuser.execute("SELECT pg_advisory_lock($1)", _ADVISORY_LOCK)
        try:
            yield
        finally:
            await superuser.execute("SELECT pg_advisory_unlock($1)", _ADVISORY_LOCK)
            for service in services:
                await superuser.execute(f"DROP TRIGGER block ON {service}.inbox")
                await superuser.execute(f"DROP FUNCTION {service}.block()")


async def _wait_for_blocked_consumers(stack: RunningStack, count: int) -> None:
    await stack.wait_until_true(
        "SELECT count(*) = $1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", count
    )


async def _unpublished_count(stack: RunningStack, service: str, order_id: str) -> int:
    query = f"SELECT count(*) FROM {service}.outbox WHERE key = $1"  # noqa: S608
    return int(await stack.fetch_value(query, order_id))


async def _wait_for_one_message(stack: RunningStack, subject: str) -> None:
    async def is_stored() -> bool:
        return await stack.message_count(subject) == 1

    await wait_until(is_stored, f"one message on {subject}", 60)


async def test_interview_killed_after_commit_before_publish(
    disruptable_stack: RunningStack,
) -> None:
    """The session starts while the broker is down, and interview dies: the code is redeemed."""
    journey, order_id, code = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await disruptable_stack.devstack.kill("nats")
    await journey.start(code)
    assert await _unpublished_count(disruptable_stack, "interview", order_id) == 1
    await disruptable_stack.devstack.kill("interview")
    await disruptable_stack.devstack.start("nats")
    await disruptable_stack.devstack.start("interview")
    await disruptable_stack.wait_for_effects(order_id, STARTED)
    assert await disruptable_stack.message_count(f"interview.v1.InterviewStarted.{order_id}") == 1


async def test_payment_killed_after_publish_before_mark(disruptable_stack: RunningStack) -> None:
    """The event is in the stream and still in the outbox: published again, with one effect."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with _locked_table(disruptable_stack, "payment.outbox_published"):
        await journey.pay(order_id)
        await _wait_for_one_message(disruptable_stack, f"payment.v1.PaymentCompleted.{order_id}")
        await disruptable_stack.devstack.kill("payment")
    assert await _unpublished_count(disruptable_stack, "payment", order_id) == 1
    await disruptable_stack.devstack.start("payment")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert len(disruptable_stack.mails(journey)) == 1


async def test_interview_killed_after_publish_before_mark(disruptable_stack: RunningStack) -> None:
    """The same for InterviewStarted: one redemption, one audit entry."""
    journey, order_id, code = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    async with _locked_table(disruptable_stack, "interview.outbox_published"):
        await journey.start(code)
        await _wait_for_one_message(disruptable_stack, f"interview.v1.InterviewStarted.{order_id}")
        await disruptable_stack.devstack.kill("interview")
    assert await _unpublished_count(disruptable_stack, "interview", order_id) == 1
    await disruptable_stack.devstack.start("interview")
    await disruptable_stack.wait_for_effects(order_id, STARTED)


async def test_consumers_killed_after_handling_before_ack(disruptable_stack: RunningStack) -> None:
    """The effects are committed and the acks never sent: redeliveries have no effect."""
    starting, started_id, code = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(started_id, PAID)
    paying = disruptable_stack.journey()
    paid_id = (await paying.order()).order_id
    async with _blocked_consumers(disruptable_stack, *SERVICES):
        await paying.pay(paid_id)
        await starting.start(code)
        await _wait_for_blocked_consumers(disruptable_stack, 3)
        await disruptable_stack.devstack.kill("nats")
    assert (await disruptable_stack.effects(started_id)).started == 1
    await disruptable_stack.wait_until_true(
        "SELECT EXISTS (SELECT FROM payment.inbox WHERE key = $1)"
        " AND EXISTS (SELECT FROM interview.inbox WHERE key = $2)"
        " AND EXISTS (SELECT FROM notification.inbox WHERE key = $2)",
        started_id,
        paid_id,
    )
    for service in SERVICES:
        await disruptable_stack.devstack.kill(service)
    await disruptable_stack.devstack.start("nats")
    for service in SERVICES:
        await disruptable_stack.devstack.start(service)
    await disruptable_stack.wait_for_effects(started_id, STARTED)
    await disruptable_stack.wait_for_effects(paid_id, PAID)
    for journey in (starting, paying):
        # A mail whose SENT was not committed is sent again, with the same Message-ID.
        assert len({mail["Message-ID"] for mail in disruptable_stack.mails(journey)}) == 1


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_killed_while_it_handles_an_event_handles_it_again(
    disruptable_stack: RunningStack, service: str
) -> None:
    """The open transaction is rolled back; the event has its effect after the restart."""
    journey, order_id = disruptable_stack.journey(), ""
    if service == "payment":
        journey, order_id, code = await disruptable_stack.prepare_session()
        await disruptable_stack.wait_for_effects(order_id, PAID)
    async with _blocked_consumers(disruptable_stack, service):
        if service == "payment":
            await journey.start(code)
        else:
            order_id = await journey.paid_order()
        await _wait_for_blocked_consumers(disruptable_stack, 1)
        await disruptable_stack.devstack.kill(service)
    await disruptable_stack.devstack.start(service)
    await disruptable_stack.wait_for_effects(order_id, STARTED if service == "payment" else PAID)
    assert len(disruptable_stack.mails(journey)) == 1
