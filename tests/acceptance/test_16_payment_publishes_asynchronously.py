"""payment publishes asynchronously: it is killed between the commit and the publish.

The event still arrives, and has one effect.
"""

from devstack.demo.journey import Journey
from payment.v1 import payment_service_pb2
from tests.system.drivers.effects import PAID
from tests.system.drivers.running_stack import RunningStack

_UNPUBLISHED = "SELECT count(*) FROM payment.outbox WHERE key = $1"


async def _paid_order(journey: Journey) -> str:
    """An order whose payment is answered, although the broker does not work."""
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    return order_id


async def _wait_for_failed_publishes(stack: RunningStack) -> None:
    """Waits until payment has failed to publish, twice from now on."""
    before = len(stack.log_entries("payment", event="relay retrying"))
    await stack.wait_for_log_entries("payment", before + 2, event="relay retrying")


async def _wait_for_one_effect(stack: RunningStack, journey: Journey, order_id: str) -> None:
    await stack.wait_for_effects(order_id, PAID)
    assert await stack.message_count(f"payment.v1.PaymentCompleted.{order_id}") == 1
    assert await stack.fetch_value(_UNPUBLISHED, order_id) == 0
    assert len(stack.mails(journey)) == 1


async def test_payment_is_killed_after_the_commit_and_before_the_publish(
    disruptable_stack: RunningStack,
) -> None:
    """The broker is down, so that payment dies with the event committed and not published."""
    journey = disruptable_stack.journey()
    await disruptable_stack.devstack.kill("nats")
    order_id = await _paid_order(journey)
    await _wait_for_failed_publishes(disruptable_stack)
    assert await disruptable_stack.fetch_value(_UNPUBLISHED, order_id) == 1
    await disruptable_stack.devstack.kill("payment")
    await disruptable_stack.devstack.start("nats")
    assert await disruptable_stack.message_count(f"payment.v1.PaymentCompleted.{order_id}") == 0
    assert (await disruptable_stack.effects(order_id)).sessions == 0
    await disruptable_stack.devstack.start("payment")
    await _wait_for_one_effect(disruptable_stack, journey, order_id)


async def test_payment_is_killed_during_the_publish(disruptable_stack: RunningStack) -> None:
    """The broker does not answer: payment never learns whether it has stored the event."""
    journey = disruptable_stack.journey()
    disruptable_stack.devstack.suspend("nats")
    order_id = await _paid_order(journey)
    assert await disruptable_stack.fetch_value(_UNPUBLISHED, order_id) == 1
    await disruptable_stack.devstack.kill("payment")
    disruptable_stack.devstack.resume("nats")
    await disruptable_stack.devstack.start("payment")
    await _wait_for_one_effect(disruptable_stack, journey, order_id)
