"""An operator replays a dead letter, with one effect, or discards it, with none."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from devstack.polling import wait_until
from eventbus import HandlerRegistry, IncomingEvent, PermanentError
from eventbus.dead_letters.store import DeadLetterClosed, DeadLetterNotFound, ReplayFailed
from eventbus.errors import is_transient
from tests.integration.drivers.bus import Bus


async def test_a_replay_handles_the_event_once(bus: Bus) -> None:
    event = bus.event("a")
    dead_letter = await bus.make_dead_letter(event)
    assert await bus.replay(bus.consumer(), dead_letter) is False
    assert await bus.effect_ids() == [event.id]
    assert await bus.marks() == {event.id: "HANDLED"}
    [row] = await bus.dead_letters()
    assert row["resolution"] == "HANDLED"
    assert row["resolved_at"] is not None


async def test_a_second_replay_is_refused(bus: Bus) -> None:
    event = bus.event("a")
    dead_letter = await bus.make_dead_letter(event)
    await bus.replay(bus.consumer(), dead_letter)
    with pytest.raises(DeadLetterClosed, match="HANDLED"):
        await bus.replay(bus.consumer(), dead_letter)
    assert await bus.effect_ids() == [event.id]


async def test_concurrent_replays_have_one_effect(bus: Bus) -> None:
    """The first stays in its handler until the other is in it too, or waits for a lock."""
    event, inside = bus.event("a"), []
    dead_letter = await bus.make_dead_letter(event)

    async def wait_for_other(_: IncomingEvent) -> None:
        inside.append(1)

        async def other_started() -> bool:
            return len(inside) > 1 or await _a_session_waits_for_a_lock(bus)

        await wait_until(other_started, "the other replay")

    consumer = bus.consumer(bus.handler(wait_for_other))
    replays = [bus.replay(consumer, dead_letter) for _ in range(2)]
    outcomes = await asyncio.gather(*replays, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["DeadLetterClosed", "bool"]
    assert await bus.effect_ids() == [event.id]


async def _a_session_waits_for_a_lock(bus: Bus) -> bool:
    waiting = "SELECT exists (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')"
    async with bus.superuser.connect() as connection:
        return bool(await connection.scalar(text(waiting)))


async def test_a_failed_replay_has_no_effect_and_leaves_the_dead_letter_open(bus: Bus) -> None:
    event = bus.event("a")
    dead_letter = await bus.make_dead_letter(event)

    async def fail(_: IncomingEvent) -> None:
        raise PermanentError("still revoked")

    with pytest.raises(ReplayFailed, match="still revoked"):
        await bus.replay(bus.consumer(bus.handler(fail)), dead_letter)
    assert await bus.effect_ids() == []
    assert await bus.marks() == {event.id: "DEAD"}
    assert [row["resolution"] for row in await bus.dead_letters()] == [None]
    await bus.replay(bus.consumer(), dead_letter)
    assert await bus.effect_ids() == [event.id]


async def test_an_outage_during_a_replay_is_a_transient_error(bus: Bus) -> None:
    """The same replay succeeds later."""
    event = bus.event("a")
    dead_letter = await bus.make_dead_letter(event)

    async def end_session(connection: AsyncConnection, _batch: Sequence[IncomingEvent]) -> None:
        await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Exception) as outage:  # noqa: PT011
        await bus.replay(bus.consumer(end_session), dead_letter)
    assert is_transient(outage.value)
    assert not isinstance(outage.value, ReplayFailed)
    await bus.replay(bus.consumer(), dead_letter)
    assert await bus.effect_ids() == [event.id]


async def test_a_replay_of_a_malformed_message_fails_and_leaves_the_dead_letter_open(
    bus: Bus,
) -> None:
    dead_letter = await bus.make_dead_letter(bus.event("a", data=b"\xff"))
    with pytest.raises(ReplayFailed, match="MalformedEnvelope"):
        await bus.replay(bus.consumer(), dead_letter)
    assert [row["resolution"] for row in await bus.dead_letters()] == [None]


async def test_a_message_of_a_formerly_unknown_type_can_be_replayed(bus: Bus) -> None:
    """The service has got a handler for the type since."""
    event = bus.event("a", version=7)
    await bus.send(event)
    await bus.deliver(bus.consumer(handler_registry=HandlerRegistry()), 1)
    [row] = await bus.dead_letters()
    await bus.replay(bus.consumer(), row["dead_letter_id"])
    [effect] = await bus.rows(bus.effects)
    assert (effect["event_id"], effect["key"], effect["version"]) == (event.id, "a", 7)


async def test_a_replay_reports_whether_later_events_of_its_key_were_handled_before(
    bus: Bus,
) -> None:
    early = await bus.make_dead_letter(bus.event("ord_1", 1))
    other = await bus.make_dead_letter(bus.event("ord_2", 1))
    unkeyed = await bus.make_dead_letter(bus.event())
    await bus.send(bus.event("ord_1", 2), bus.event())
    await bus.deliver(bus.consumer(), 2)
    late = await bus.make_dead_letter(bus.event("ord_1", 3))
    consumer = bus.consumer()
    assert await bus.replay(consumer, early) is True
    assert await bus.replay(consumer, other) is False
    assert await bus.replay(consumer, unkeyed) is False
    assert await bus.replay(consumer, late) is False


async def test_a_later_event_that_is_dead_itself_does_not_count_as_handled(bus: Bus) -> None:
    first = await bus.make_dead_letter(bus.event("ord_1", 1))
    await bus.make_dead_letter(bus.event("ord_1", 2))
    assert await bus.replay(bus.consumer(), first) is False


async def test_after_commit_gets_a_replayed_event(bus: Bus) -> None:
    event, seen = bus.event("a"), []
    dead_letter = await bus.make_dead_letter(event)
    await bus.replay(bus.consumer(after_commit=seen.append), dead_letter)
    assert [[incoming.event.id for incoming in batch] for batch in seen] == [[event.id]]


async def test_the_event_of_a_discarded_dead_letter_is_never_handled(bus: Bus) -> None:
    event = bus.event("a")
    dead_letter = await bus.make_dead_letter(event)
    await bus.discard(bus.consumer(), dead_letter)
    assert await bus.marks() == {event.id: "DISCARDED"}
    assert [row["resolution"] for row in await bus.dead_letters()] == ["DISCARDED"]
    for resolve in (bus.replay, bus.discard):
        with pytest.raises(DeadLetterClosed, match="DISCARDED"):
            await resolve(bus.consumer(), dead_letter)
    await bus.send_copy(event)
    await bus.deliver(bus.consumer(), 1)
    assert await bus.effect_ids() == []


async def test_a_dead_letter_that_does_not_exist_cannot_be_resolved(bus: Bus) -> None:
    for resolve in (bus.replay, bus.discard):
        with pytest.raises(DeadLetterNotFound):
            await resolve(bus.consumer(), "dlq_absent")


async def test_a_replay_has_no_effect_if_the_event_is_not_marked_dead(bus: Bus) -> None:
    dead_letter = await bus.make_dead_letter(bus.event("a"))
    await bus.execute(update(bus.tables.inbox).values(state="HANDLED"))
    with pytest.raises(DeadLetterClosed, match="not marked DEAD"):
        await bus.replay(bus.consumer(), dead_letter)
    assert await bus.effect_ids() == []
