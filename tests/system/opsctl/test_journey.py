"""`opsctl journey`: an order's history from the records and events of all services."""

from clients import Service
from tests.system.drivers.effects import PAID
from tests.system.drivers.opsctl import opsctl
from tests.system.drivers.running_stack import RunningStack

STEPS = (
    "order created",
    "payment SUCCEEDED",
    "payment.v1.PaymentCompleted",
    "session prepared",
    "interview started",
    "interview.v1.InterviewStarted",
    "payment.v1.AccessCodeRedeemed",
)


async def test_journey_shows_records_and_events_of_all_services_by_time(
    shared_stack: RunningStack,
) -> None:
    """Access code and mail address are masked without --reveal."""
    journey, order_id, code = await shared_stack.prepare_session()
    await journey.start(code)
    await journey.wait_for_redemption(order_id)
    await journey.wait_for_sent_mail(order_id)
    await shared_stack.wait_until_idle()
    result = await opsctl(shared_stack, "journey", order_id, "--json")
    assert result.status == 0
    entries = result.json["timeline"]
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    events = [entry["event"] for entry in entries]
    positions = [events.index(step) for step in STEPS]
    assert positions == sorted(positions)
    assert events.index("mail queued") < events.index("mail sent")
    assert {entry["domain"] for entry in entries} == set(Service)
    assert result.json["order"]["order_id"] == order_id
    assert result.json["errors"] == []
    assert code not in result.out
    assert journey.email not in result.out

    revealed = await opsctl(shared_stack, "journey", order_id, "--json", "--reveal")
    assert code in revealed.out
    assert journey.email in revealed.out

    table = await opsctl(shared_stack, "journey", order_id)
    assert table.status == 0
    assert f"{order_id}: PAID, backend-60" in table.out
    for step in STEPS:
        assert step in table.out
    assert code not in table.out
    assert journey.email not in table.out


async def test_journey_shows_the_other_parts_when_some_cannot_be_read(
    disruptable_stack: RunningStack,
) -> None:
    """Each missing part is named on standard error, with the reason."""
    _, order_id, _ = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await disruptable_stack.devstack.kill("interview")
    await disruptable_stack.devstack.kill("nats")
    table = await opsctl(disruptable_stack, "journey", order_id)
    assert table.status == 1
    assert "order created" in table.out
    assert "mail queued" in table.out
    assert "session prepared" not in table.out
    sessions, events = table.err.splitlines()
    assert sessions.startswith("opsctl: could not be read: sessions: interview at")
    assert events.startswith("opsctl: could not be read: events: no broker at")
    result = await opsctl(disruptable_stack, "journey", order_id, "--json")
    assert (result.status, result.err) == (1, table.err)
    assert "order created" in [entry["event"] for entry in result.json["timeline"]]
    assert len(result.json["errors"]) == 2
