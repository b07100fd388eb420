"""Processes killed at the worst moments; every effect comes, and comes once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from devstack.polling import eventually
from tests.system.drivers.running_stack import PAID, STARTED, Outside

_TURNSTILE = 20_261_122


@asynccontextmanager
async def _locked(outside: Outside, table: str) -> AsyncIterator[None]:
    """Lets nobody write a table for the time being."""
    async with outside.sql() as superuser, superuser.transaction():
        await superuser.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def _turnstile(outside: Outside, *services: str) -> AsyncIterator[None]:
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


async def _unpublished(outside: Outside, service: str, order_id: str) -> int:
    query = f"SELECT count(*) FROM {service}.outbox WHERE key = $1"  # noqa: S608
    return int(await outside.value(query, order_id))


async def _in_the_stream(outside: Outside, subject: str) -> None:
    async def look() -> bool:
        return await outside.stored_count(subject) == 1

    await eventually(look, f"one message on {subject}", 60)


async def test_interview_killed_after_commit_before_publish(rough: Outside) -> None:
    """The interview starts while the broker is away and interview dies: the code is redeemed."""
    journey, order_id, code = await rough.prepared()
    await rough.came_to(order_id, PAID)
    await rough.stack.kill("nats")
    await journey.start(code)
    assert await _unpublished(rough, "interview", order_id) == 1
    await rough.stack.kill("interview")
    await rough.stack.start("nats")
    await rough.stack.start("interview")
    await rough.came_to(order_id, STARTED)
    assert await rough.stored_count(f"interview.v1.InterviewStarted.{order_id}") == 1


async def test_payment_killed_after_publish_before_mark(rough: Outside) -> None:
    """The event is in the stream and still in the outbox: published again, with one effect."""
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    async with _locked(rough, "payment.outbox_published"):
        await journey.pay(order_id)
        await _in_the_stream(rough, f"payment.v1.PaymentCompleted.{order_id}")
        await rough.stack.kill("payment")
    assert await _unpublished(rough, "payment", order_id) == 1
    await rough.stack.start("payment")
    await rough.came_to(order_id, PAID)
    assert len(rough.mails(journey)) == 1


async def test_interview_killed_after_publish_before_mark(rough: Outside) -> None:
    """The same of InterviewStarted: one redemption, one audit row."""
    journey, order_id, code = await rough.prepared()
    await rough.came_to(order_id, PAID)
    async with _locked(rough, "interview.outbox_published"):
        await journey.start(code)
        await _in_the_stream(rough, f"interview.v1.InterviewStarted.{order_id}")
        await rough.stack.kill("interview")
    assert await _unpublished(rough, "interview", order_id) == 1
    await rough.stack.start("interview")
    await rough.came_to(order_id, STARTED)


async def test_consumers_killed_after_handling_before_ack(rough: Outside) -> None:
    """Effects are committed, the acknowledgements never sent: redelivered, without effect."""
    starter, started_id, code = await rough.prepared()
    await rough.came_to(started_id, PAID)
    payer = rough.journey()
    paid_id = (await payer.order()).order_id
    services = ("payment", "interview", "notification")
    async with _turnstile(rough, *services):
        await payer.pay(paid_id)
        await starter.start(code)
        waiting = "SELECT count(*) = 3 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await rough.until_true(waiting)
        await rough.stack.kill("nats")
    assert (await rough.effects(started_id)).started == 1
    await rough.until_true(
        "SELECT EXISTS (SELECT FROM payment.inbox WHERE key = $1)"
        " AND EXISTS (SELECT FROM interview.inbox WHERE key = $2)"
        " AND EXISTS (SELECT FROM notification.inbox WHERE key = $2)",
        started_id,
        paid_id,
    )
    for service in services:
        await rough.stack.kill(service)
    await rough.stack.start("nats")
    for service in services:
        await rough.stack.start(service)
    await rough.came_to(started_id, STARTED)
    await rough.came_to(paid_id, PAID)
    for journey in (starter, payer):
        # The one window: a mail handed over whose SENT was not recorded is sent again as itself.
        assert len({mail["Message-ID"] for mail in rough.mails(journey)}) == 1


@pytest.mark.parametrize("service", ["payment", "interview", "notification"])
async def test_killed_while_it_handles_an_event_it_handles_it_again(
    rough: Outside, service: str
) -> None:
    """Nothing of a half-done effect stays; the event has its effect after the restart."""
    journey, order_id = rough.journey(), ""
    if service == "payment":
        journey, order_id, code = await rough.prepared()
        await rough.came_to(order_id, PAID)
    async with _turnstile(rough, service):
        if service == "payment":
            await journey.start(code)
        else:
            order_id = await journey.paid_order()
        waiting = "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await rough.until_true(waiting)
        await rough.stack.kill(service)
    await rough.stack.start(service)
    await rough.came_to(order_id, STARTED if service == "payment" else PAID)
    assert len(rough.mails(journey)) == 1
