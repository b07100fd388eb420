"""`opsctl dead-letters`: list, show, replay, discard."""

from devstack.polling import wait_until
from devstack.servers.postgres import SERVICES
from tests.system.drivers.db_faults import failing_session_insert
from tests.system.drivers.dead_letters import wait_for_dead_letter
from tests.system.drivers.effects import PAID
from tests.system.drivers.opsctl import opsctl
from tests.system.drivers.running_stack import RunningStack

_ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


async def listed_letters(stack: RunningStack, subject: str) -> list[dict[str, str]]:
    """The dead letters of a subject that `list` prints."""
    result = await opsctl(stack, "dead-letters", "list", "--json")
    return [letter for letter in result.json["dead_letters"] if letter["subject"] == subject]


async def test_dead_letters_are_listed_shown_and_discarded(disruptable_stack: RunningStack) -> None:
    """By id alone: opsctl finds the service that stores a dead letter."""
    order_id = f"ord_{_ULID}"
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    async with disruptable_stack.nats() as client:
        await client.jetstream().publish(
            subject,
            b"\xff\xff",
            headers={"ce-id": f"\x1b[2Jevt-{disruptable_stack.journey().name}"},
        )

    async def dead_lettered() -> list[dict[str, str]] | None:
        letters = await listed_letters(disruptable_stack, subject)
        return letters if len(letters) == 2 else None

    letters = await wait_until(dead_lettered, "dead letters of two consumers")
    assert {letter["service"] for letter in letters} == {"interview", "notification"}
    table = await opsctl(disruptable_stack, "dead-letters", "list", "interview")
    assert order_id in table.out
    status = await opsctl(disruptable_stack, "status", "--json")
    assert any("dead letters" in line for line in status.json["needs_operator"])

    for letter in letters:
        id_ = letter["dead_letter_id"]
        shown = await opsctl(disruptable_stack, "dead-letters", "show", id_)
        assert shown.status == 0
        assert subject in shown.out
        assert "cannot be decoded" in shown.out
        assert "\x1b" not in shown.out
        declined = await opsctl(disruptable_stack, "dead-letters", "discard", id_, stdin="n\n")
        assert declined.status == 1
        discarded = await opsctl(disruptable_stack, "dead-letters", "discard", id_, "--yes")
        assert (discarded.status, discarded.err) == (0, "")
        again = await opsctl(disruptable_stack, "dead-letters", "discard", id_, "--yes")
        assert "DEAD_LETTER_CLOSED" in again.error_line()
        assert (await opsctl(disruptable_stack, "dead-letters", "show", id_)).status == 0
    assert not await listed_letters(disruptable_stack, subject)


async def test_dead_letters_are_replayed_by_type_and_failures_are_listed(
    disruptable_stack: RunningStack,
) -> None:
    """A failure does not stop the others; each event takes effect once."""
    for service in SERVICES:  # dead letters of other tests would be replayed too
        discard = f"UPDATE {service}.dead_letters SET resolution = 'DISCARDED'"  # noqa: S608
        await disruptable_stack.execute(discard)
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    event_type = "payment.v1.PaymentCompleted"
    async with failing_session_insert(disruptable_stack, order_id):
        await journey.pay(order_id)
        letter = await wait_for_dead_letter(disruptable_stack, order_id)
        id_ = letter.dead_letter_id
        failed = await opsctl(disruptable_stack, "dead-letters", "replay", id_)
        assert failed.status == 1
        assert "REPLAY_FAILED" in failed.out
        assert "0 of 1 dead letters replayed" in failed.out
        masked = await opsctl(disruptable_stack, "dead-letters", "show", id_)
        code = (await disruptable_stack.access_code(order_id)).code
        assert f"****-****-****-{code[-4:]}" in masked.out
        assert code not in masked.out
        revealed = await opsctl(disruptable_stack, "dead-letters", "show", id_, "--reveal")
        assert code in revealed.out
    replay_all = ("dead-letters", "replay", "--all", "--type")
    none = await opsctl(disruptable_stack, *replay_all, "no.v1.Such")
    assert (none.status, none.out) == (0, "0 of 0 dead letters replayed\n")
    replayed = await opsctl(disruptable_stack, *replay_all, event_type)
    assert f"replayed {id_}" in replayed.out
    assert replayed.status == 0, replayed
    await disruptable_stack.wait_for_effects(order_id, PAID)
    again = await opsctl(disruptable_stack, "dead-letters", "replay", id_)
    assert again.status == 1
    assert "DEAD_LETTER_CLOSED" in again.out
