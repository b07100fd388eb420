"""Handing a batch to its handlers: no key twice in a call, each key's events in order."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import Event, HandlerRegistry, IncomingEvent, MalformedEnvelope, Payload
from eventbus.handlers import _rounds
from eventbus.trace_context import traceparent_for

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
NO_CONNECTION: Any = None  # handlers of these tests don't touch it


def received(
    number: int,
    key: str = "",
    version: int = 0,
    aggregate: str = "thing",
    name: str = "A",
    traceparent: str = "",
) -> IncomingEvent:
    event = Event(f"evt_{number}", f"t.v1.{name}", key, b"", NOON, "t", traceparent)
    return IncomingEvent(event, None, aggregate, version, number)


batches = st.lists(
    st.builds(
        received,
        st.integers(1, 10_000),
        st.sampled_from(["", "a", "b", "c"]),
        st.integers(0, 5),
        st.sampled_from(["thing", "other"]),
        st.sampled_from("ABC"),
    ),
    max_size=25,
    unique_by=lambda one: one.event.id,
)


@given(batches)
def test_rounds_hold_every_event_once(batch: list[IncomingEvent]) -> None:
    handed = [one.event.id for round_ in _rounds(batch) for one in round_]
    assert Counter(handed) == Counter(one.event.id for one in batch)


@given(batches)
def test_no_round_has_a_key_twice(batch: list[IncomingEvent]) -> None:
    for round_ in _rounds(batch):
        keys = [one.event.key for one in round_ if one.event.key]
        assert len(keys) == len(set(keys))


@given(batches)
def test_the_events_of_a_key_come_by_version_and_then_as_they_stood_in_the_stream(
    batch: list[IncomingEvent],
) -> None:
    handed = [one for round_ in _rounds(batch) for one in round_]
    for key in ("a", "b", "c"):
        for aggregate in ("thing", "other"):
            found = [
                (one.version, one.stream_sequence)
                for one in handed
                if one.event.key == key and one.aggregate == aggregate
            ]
            assert found == sorted(found)


@given(batches)
def test_events_without_a_key_share_the_first_round(batch: list[IncomingEvent]) -> None:
    rounds = list(_rounds(batch))
    assert not any(not one.event.key for round_ in rounds[1:] for one in round_)


@given(batches, st.randoms(use_true_random=False))
def test_the_rounds_dont_depend_on_the_order_of_arrival(
    batch: list[IncomingEvent], random: Any
) -> None:
    """Two replicas with the same events lock rows in the same order."""
    mixed = random.sample(batch, len(batch))
    assert list(_rounds(mixed)) == list(_rounds(batch))


@given(batches)
def test_keys_are_in_order_within_a_round(batch: list[IncomingEvent]) -> None:
    for round_ in _rounds(batch):
        keys = [one.event.key for one in round_ if one.event.key]
        assert keys == sorted(keys)


class Notes:
    """A handler that notes what it got."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    async def __call__(self, _connection: Any, batch: Sequence[IncomingEvent]) -> None:
        self.calls.append([one.event.id for one in batch])


def decode_nothing(_event: Event) -> Payload:
    return Payload(None)


async def test_each_handler_gets_its_own_type_only() -> None:
    handler_registry, a, b = HandlerRegistry(), Notes(), Notes()
    handler_registry.subscribe("t.v1.A", decode_nothing, a)
    handler_registry.subscribe("t.v1.B", decode_nothing, b)
    batch = [received(1, "x", name="A"), received(2, "y", name="B"), received(3, "z", name="A")]
    await handler_registry.dispatch(NO_CONNECTION, batch)
    assert (a.calls, b.calls) == ([["evt_1", "evt_3"]], [["evt_2"]])


async def test_a_batch_of_different_keys_is_one_call() -> None:
    handler_registry, notes = HandlerRegistry(), Notes()
    handler_registry.subscribe("t.v1.A", decode_nothing, notes)
    await handler_registry.dispatch(NO_CONNECTION, [received(n, f"k{n}") for n in range(1, 101)])
    assert [len(call) for call in notes.calls] == [100]


async def test_an_empty_batch_calls_nobody() -> None:
    handler_registry, notes = HandlerRegistry(), Notes()
    handler_registry.subscribe("t.v1.A", decode_nothing, notes)
    await handler_registry.dispatch(NO_CONNECTION, [])
    assert notes.calls == []


async def test_what_is_caused_for_a_key_carries_the_trace_of_that_keys_event() -> None:
    """Also if the batch has two events of the key, each with a trace of its own."""
    traces = {1: "1" * 32, 2: "2" * 32, 3: "3" * 32}
    batch = [
        received(number, key, version=number, traceparent=f"00-{traces[number]}-{'f' * 16}-01")
        for number, key in ((1, "a"), (2, "a"), (3, "b"))
    ]
    caused: list[tuple[str, str]] = []

    async def handler(_connection: Any, got: Sequence[IncomingEvent]) -> None:
        caused.extend((one.event.id, traceparent_for(one.event.key)[3:35]) for one in got)

    handler_registry = HandlerRegistry()
    handler_registry.subscribe("t.v1.A", decode_nothing, handler)
    await handler_registry.dispatch(NO_CONNECTION, batch)
    assert dict(caused) == {f"evt_{number}": trace for number, trace in traces.items()}


def test_a_type_has_one_handler() -> None:
    handler_registry = HandlerRegistry()
    handler_registry.subscribe("t.v1.A", decode_nothing, Notes())
    with pytest.raises(ValueError, match="has a handler"):
        handler_registry.subscribe("t.v1.A", decode_nothing, Notes())


def test_an_event_that_nobody_handles_is_malformed() -> None:
    with pytest.raises(MalformedEnvelope, match="no handler"):
        HandlerRegistry().decode(received(1).event, 1)


def test_a_decoded_event_carries_its_place_and_its_version() -> None:
    handler_registry = HandlerRegistry()
    handler_registry.subscribe("t.v1.A", lambda _: Payload("body", "thing", 7), Notes())
    event = received(1, "a").event
    assert handler_registry.decode(event, 42) == IncomingEvent(event, "body", "thing", 7, 42)
