"""payment publishes asynchronously: it is killed between the commit and the publish.

The event still arrives, and has one effect.
"""

from devstack.demo.journey import Journey
from devstack.polling import wait_until
from payment.v1 import payment_service_pb2
from tests.system.drivers.running_stack import PAID, RunningStack

_UNPUBLISHED = "SELECT count(*) FROM payment.outbox WHERE key = $1"


async def _paid(journey: Journey) -> str:
    """An order whose payment is answered as ever."""
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    return order_id


async def _tried_in_vain(outside: RunningStack) -> None:
    """Waits until payment has failed to publish, twice from now on."""
    before = len(outside.log_lines("payment", event="relay paused"))

    async def look() -> bool:
        return len(outside.log_lines("payment", event="relay paused")) >= before + 2

    await wait_until(look, "payment's tries to publish", 60)


async def _arrives_once(outside: RunningStack, journey: Journey, order_id: str) -> None:
    await outside.wait_for_effects(order_id, PAID)
    assert await outside.stored_count(f"payment.v1.PaymentCompleted.{order_id}") == 1
    assert await outside.value(_UNPUBLISHED, order_id) == 0
    assert len(outside.mails(journey)) == 1


async def test_proof_16_killed_after_the_commit_before_the_publish(
    disruptable_stack: RunningStack,
) -> None:
    """The broker is away, so that payment dies with the event committed and not published."""
    journey = disruptable_stack.journey()
    await disruptable_stack.stack.kill("nats")
    order_id = await _paid(journey)
    await _tried_in_vain(disruptable_stack)
    assert await disruptable_stack.value(_UNPUBLISHED, order_id) == 1
    await disruptable_stack.stack.kill("payment")
    await disruptable_stack.stack.start("nats")
    assert await disruptable_stack.stored_count(f"payment.v1.PaymentCompleted.{order_id}") == 0
    assert (await disruptable_stack.effects(order_id)).sessions == 0
    await disruptable_stack.stack.start("payment")
    await _arrives_once(disruptable_stack, journey, order_id)


async def test_proof_16_killed_in_the_middle_of_the_publish(
    disruptable_stack: RunningStack,
) -> None:
    """The broker answers nobody: whether it has the event, payment never hears."""
    journey = disruptable_stack.journey()
    disruptable_stack.stack.suspend("nats")
    order_id = await _paid(journey)
    assert await disruptable_stack.value(_UNPUBLISHED, order_id) == 1
    await disruptable_stack.stack.kill("payment")
    disruptable_stack.stack.resume("nats")
    await disruptable_stack.stack.start("payment")
    await _arrives_once(disruptable_stack, journey, order_id)
