"""Dispatch of a batch to handlers: no key twice in a call, the events of a key in order."""

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
NO_CONNECTION: Any = None  # handlers of these tests do not use it


def incoming_event(
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
        incoming_event,
        st.integers(1, 10_000),
        st.sampled_from(["", "a", "b", "c"]),
        st.integers(0, 5),
        st.sampled_from(["thing", "other"]),
        st.sampled_from("ABC"),
    ),
    max_size=25,
    unique_by=lambda incoming: incoming.event.id,
)


@given(batches)
def test_every_event_is_in_one_round(batch: list[IncomingEvent]) -> None:
    dispatched = [incoming.event.id for round_ in _rounds(batch) for incoming in round_]
    assert Counter(dispatched) == Counter(incoming.event.id for incoming in batch)


@given(batches)
def test_no_round_has_a_key_twice(batch: list[IncomingEvent]) -> None:
    for round_ in _rounds(batch):
        keys = [incoming.event.key for incoming in round_ if incoming.event.key]
        assert len(keys) == len(set(keys))


@given(batches)
def test_the_events_of_a_key_are_ordered_by_version_and_stream_sequence(
    batch: list[IncomingEvent],
) -> None:
    dispatched = [incoming for round_ in _rounds(batch) for incoming in round_]
    for key in ("a", "b", "c"):
        for aggregate in ("thing", "other"):
            found = [
                (incoming.version, incoming.stream_sequence)
                for incoming in dispatched
                if incoming.event.key == key and incoming.aggregate == aggregate
            ]
            assert found == sorted(found)


@given(batches)
def test_events_without_a_key_share_the_first_round(batch: list[IncomingEvent]) -> None:
    rounds = list(_rounds(batch))
    assert not any(not incoming.event.key for round_ in rounds[1:] for incoming in round_)


@given(batches, st.randoms(use_true_random=False))
def test_rounds_do_not_depend_on_the_order_of_delivery(
    batch: list[IncomingEvent], random: Any
) -> None:
    """Two replicas with the same events lock rows in the same order."""
    shuffled = random.sample(batch, len(batch))
    assert list(_rounds(shuffled)) == list(_rounds(batch))


@given(batches)
def test_keys_are_sorted_within_a_round(batch: list[IncomingEvent]) -> None:
    for round_ in _rounds(batch):
        keys = [incoming.event.key for incoming in round_ if incoming.event.key]
        assert keys == sorted(keys)


class RecordingHandler:
    """Records the event ids of each call."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    async def __call__(self, _connection: Any, batch: Sequence[IncomingEvent]) -> None:
        self.calls.append([incoming.event.id for incoming in batch])


def decode_nothing(_event: Event) -> Payload:
    return Payload(None)


async def test_each_handler_gets_the_events_of_its_type() -> None:
    registry, a, b = HandlerRegistry(), RecordingHandler(), RecordingHandler()
    registry.subscribe("t.v1.A", decode_nothing, a)
    registry.subscribe("t.v1.B", decode_nothing, b)
    batch = [
        incoming_event(1, "x", name="A"),
        incoming_event(2, "y", name="B"),
        incoming_event(3, "z", name="A"),
    ]
    await registry.dispatch(NO_CONNECTION, batch)
    assert (a.calls, b.calls) == ([["evt_1", "evt_3"]], [["evt_2"]])


async def test_a_batch_of_different_keys_is_one_call() -> None:
    registry, handler = HandlerRegistry(), RecordingHandler()
    registry.subscribe("t.v1.A", decode_nothing, handler)
    await registry.dispatch(NO_CONNECTION, [incoming_event(n, f"k{n}") for n in range(1, 101)])
    assert [len(call) for call in handler.calls] == [100]


async def test_an_empty_batch_calls_no_handler() -> None:
    registry, handler = HandlerRegistry(), RecordingHandler()
    registry.subscribe("t.v1.A", decode_nothing, handler)
    await registry.dispatch(NO_CONNECTION, [])
    assert handler.calls == []


async def test_an_event_published_under_a_key_continues_the_trace_of_that_key() -> None:
    """Also if the batch has two events of the key, with different traces."""
    traces = {1: "1" * 32, 2: "2" * 32, 3: "3" * 32}
    batch = [
        incoming_event(
            number, key, version=number, traceparent=f"00-{traces[number]}-{'f' * 16}-01"
        )
        for number, key in ((1, "a"), (2, "a"), (3, "b"))
    ]
    caused: list[tuple[str, str]] = []

    async def handler(_connection: Any, events: Sequence[IncomingEvent]) -> None:
        caused.extend(
            (incoming.event.id, traceparent_for(incoming.event.key)[3:35]) for incoming in events
        )

    registry = HandlerRegistry()
    registry.subscribe("t.v1.A", decode_nothing, handler)
    await registry.dispatch(NO_CONNECTION, batch)
    assert dict(caused) == {f"evt_{number}": trace for number, trace in traces.items()}


def test_a_second_handler_for_a_type_is_an_error() -> None:
    registry = HandlerRegistry()
    registry.subscribe("t.v1.A", decode_nothing, RecordingHandler())
    with pytest.raises(ValueError, match="already has a handler"):
        registry.subscribe("t.v1.A", decode_nothing, RecordingHandler())


def test_an_event_of_an_unknown_type_is_malformed() -> None:
    with pytest.raises(MalformedEnvelope, match="no handler"):
        HandlerRegistry().decode(incoming_event(1).event, 1)


def test_a_decoded_event_has_its_version_and_stream_sequence() -> None:
    registry = HandlerRegistry()
    registry.subscribe("t.v1.A", lambda _: Payload("body", "thing", 7), RecordingHandler())
    event = incoming_event(1, "a").event
    assert registry.decode(event, 42) == IncomingEvent(event, "body", "thing", 7, 42)
