"""subscribe → prepareSession(data): an event that is delivered five times makes one session."""

from tests.system.drivers.running_stack import PAID, STARTED, RunningStack


async def _put_again(outside: RunningStack, subject: str, **headers: str) -> None:
    """The subject's message once more on its stream, with some headers changed."""
    message = await outside.stored(subject)
    async with outside.nats(subject.partition(".")[0]) as client:
        told = {**(message.headers or {}), **headers}
        reply = await client.request(subject, message.data or b"", headers=told, timeout=10)
        assert b"error" not in reply.data


async def test_proof_20_an_event_delivered_five_times_makes_one_session(
    shared_stack: RunningStack,
) -> None:
    """The broker takes the copies for new messages; interview knows them by the event's id."""
    journey, order_id, _ = await shared_stack.prepared()
    session = await journey.prepared(order_id)
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    for number in range(4):
        await _put_again(shared_stack, subject, **{"Nats-Msg-Id": f"{journey.name}-{number}"})
    assert await shared_stack.stored_count(subject) == 5
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await journey.prepared(order_id) == session
    prepared = f"interview.v1.SessionPrepared.{order_id}"
    assert await shared_stack.stored_count(prepared) == 1
    assert len(shared_stack.mails(journey)) == 1


async def test_proof_20_a_start_delivered_five_times_redeems_once(
    shared_stack: RunningStack,
) -> None:
    """The way back is as safe: one redemption, announced once."""
    journey, order_id, code = await shared_stack.prepared()
    await journey.start(code)
    subject = f"interview.v1.InterviewStarted.{order_id}"
    for number in range(4):
        await _put_again(shared_stack, subject, **{"Nats-Msg-Id": f"{journey.name}-{number}"})
    assert await shared_stack.stored_count(subject) == 5
    await shared_stack.wait_for_effects(order_id, STARTED)
    assert (await journey.redeemed(order_id)).version == 2
    assert await shared_stack.stored_count(f"payment.v1.AccessCodeRedeemed.{order_id}") == 1


async def test_proof_20_the_same_fact_under_another_id_makes_no_second_session(
    shared_stack: RunningStack,
) -> None:
    """An order has one session, whatever is announced about it."""
    journey, order_id, _ = await shared_stack.prepared()
    session = await journey.prepared(order_id)
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    other = f"evt_{journey.name}"
    await _put_again(shared_stack, subject, **{"Nats-Msg-Id": other, "ce-id": other})
    await shared_stack.wait_until_idle()
    assert (await shared_stack.effects(order_id)).sessions == 1
    assert await journey.prepared(order_id) == session
