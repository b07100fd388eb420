"""Processes killed at the worst moments; every effect comes, and comes once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from devstack.polling import wait_until
from tests.system.drivers.running_stack import PAID, STARTED, RunningStack

_TURNSTILE = 20_261_122


@asynccontextmanager
async def _locked(outside: RunningStack, table: str) -> AsyncIterator[None]:
    """Lets nobody write a table for the time being."""
    async with outside.sql() as superuser, superuser.transaction():
        await superuser.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def _turnstile(outside: RunningStack, *services: str) -> AsyncIterator[None]:
    """Consumers of these services stop just before their first inbox mark of an order.

    A lock on the whole table would stop them at any watermark too, before they fetch the order's
    event.
    """
    async with outside.sql() as superuser:
        for service in services:
            await superuser.execute(
                f"CREATE FUNCTION {service}.turnstile() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN PERFORM pg_advisory_xact_lock_shared({_TURNSTILE}); RETURN NEW; END $$"
            )
            await superuser.execute(
                f"CREATE TRIGGER turnstile BEFORE INSERT ON {service}.inbox FOR EACH ROW"
                f" WHEN (NEW.key <> '') EXECUTE FUNCTION {service}.turnstile()"
            )
        await superuser.execute("SELECT pg_advisory_lock($1)", _TURNSTILE)
        try:
            yield
        finally:
            await superuser.execute("SELECT pg_advisory_unlock($1)", _TURNSTILE)
            for service in services:
                await superuser.execute(f"DROP TRIGGER turnstile ON {service}.inbox")
                await superuser.execute(f"DROP FUNCTION {service}.turnstile()")


async def _unpublished(outside: RunningStack, service: str, order_id: str) -> int:
    query = f"SELECT count(*) FROM {service}.outbox WHERE key = $1"  # noqa: S608
    return int(await outside.value(query, order_id))


async def _in_the_stream(outside: RunningStack, subject: str) -> None:
    async def look() -> bool:
        return await outside.stored_count(subject) == 1

    await wait_until(look, f"one message on {subject}", 60)


async def test_interview_killed_after_commit_before_publish(
    disruptable_stack: RunningStack,
) -> None:
    """The interview starts while the broker is away and interview dies: the code is redeemed."""
    journey, order_id, code = await disruptable_stack.prepared()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await disruptable_stack.stack.kill("nats")
    await journey.start(code)
    assert await _unpublished(disruptable_stack, "interview", order_id) == 1
    await disruptable_stack.stack.kill("interview")
    await disruptable_stack.stack.start("nats")
    await disruptable_stack.stack.start("interview")
    await disruptable_stack.wait_for_effects(order_id, STARTED)
    assert await disruptable_stack.stored_count(f"interview.v1.InterviewStarted.{order_id}") == 1


async def test_payment_killed_after_publish_before_mark(disruptable_stack: RunningStack) -> None:
    """The event is in the stream and still in the outbox: published again, with one effect."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with _locked(disruptable_stack, "payment.outbox_published"):
        await journey.pay(order_id)
        await _in_the_stream(disruptable_stack, f"payment.v1.PaymentCompleted.{order_id}")
        await disruptable_stack.stack.kill("payment")
    assert await _unpublished(disruptable_stack, "payment", order_id) == 1
    await disruptable_stack.stack.start("payment")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert len(disruptable_stack.mails(journey)) == 1


async def test_interview_killed_after_publish_before_mark(disruptable_stack: RunningStack) -> None:
    """The same of InterviewStarted: one redemption, one audit row."""
    journey, order_id, code = await disruptable_stack.prepared()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    async with _locked(disruptable_stack, "interview.outbox_published"):
        await journey.start(code)
        await _in_the_stream(disruptable_stack, f"interview.v1.InterviewStarted.{order_id}")
        await disruptable_stack.stack.kill("interview")
    assert await _unpublished(disruptable_stack, "interview", order_id) == 1
    await disruptable_stack.stack.start("interview")
    await disruptable_stack.wait_for_effects(order_id, STARTED)


async def test_consumers_killed_after_handling_before_ack(disruptable_stack: RunningStack) -> None:
    """Effects are committed, the acknowledgements never sent: redelivered, without effect."""
    starter, started_id, code = await disruptable_stack.prepared()
    await disruptable_stack.wait_for_effects(started_id, PAID)
    payer = disruptable_stack.journey()
    paid_id = (await payer.order()).order_id
    services = ("payment", "interview", "notification")
    async with _turnstile(disruptable_stack, *services):
        await payer.pay(paid_id)
        await starter.start(code)
        waiting = "SELECT count(*) = 3 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await disruptable_stack.until_true(waiting)
        await disruptable_stack.stack.kill("nats")
    assert (await disruptable_stack.effects(started_id)).started == 1
    await disruptable_stack.until_true(
        "SELECT EXISTS (SELECT FROM payment.inbox WHERE key = $1)"
        " AND EXISTS (SELECT FROM interview.inbox WHERE key = $2)"
        " AND EXISTS (SELECT FROM notification.inbox WHERE key = $2)",
        started_id,
        paid_id,
    )
    for service in services:
        await disruptable_stack.stack.kill(service)
    await disruptable_stack.stack.start("nats")
    for service in services:
        await disruptable_stack.stack.start(service)
    await disruptable_stack.wait_for_effects(started_id, STARTED)
    await disruptable_stack.wait_for_effects(paid_id, PAID)
    for journey in (starter, payer):
        # The one window: a mail handed over whose SENT was not recorded is sent again as itself.
        assert len({mail["Message-ID"] for mail in disruptable_stack.mails(journey)}) == 1


@pytest.mark.parametrize("service", ["payment", "interview", "notification"])
async def test_killed_while_it_handles_an_event_it_handles_it_again(
    disruptable_stack: RunningStack, service: str
) -> None:
    """Nothing of a half-done effect stays; the event has its effect after the restart."""
    journey, order_id = disruptable_stack.journey(), ""
    if service == "payment":
        journey, order_id, code = await disruptable_stack.prepared()
        await disruptable_stack.wait_for_effects(order_id, PAID)
    async with _turnstile(disruptable_stack, service):
        if service == "payment":
            await journey.start(code)
        else:
            order_id = await journey.paid_order()
        waiting = "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await disruptable_stack.until_true(waiting)
        await disruptable_stack.stack.kill(service)
    await disruptable_stack.stack.start(service)
    await disruptable_stack.wait_for_effects(order_id, STARTED if service == "payment" else PAID)
    assert len(disruptable_stack.mails(journey)) == 1
