"""The log of the bus: one line for a batch, and one for each event only at DEBUG."""

import logging
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.testing import CapturingLogger

from eventbus import Event
from eventbus.batch_log import log_events

TRACE = "0af7651916cd43dd8448eb211c80319c"


class UnreadEvent(Event):
    """An event whose fields nobody may compute."""

    def log_fields(self) -> dict[str, str]:
        raise AssertionError("computed although nothing logs it")


def event(number: int, kind: type[Event] = Event) -> Event:
    now = datetime(2026, 1, 2, 12, tzinfo=UTC)
    traceparent = f"00-{TRACE}-00f067aa0ba902b7-01"
    return kind(f"evt_{number}", "a.v1.Done", "ord_1", b"", now, "a", traceparent)


def logged(level: int, *events: Event) -> list[dict[str, Any]]:
    """What is logged of a batch at a level."""
    capture = CapturingLogger()
    log = structlog.wrap_logger(
        capture, processors=[], wrapper_class=structlog.make_filtering_bound_logger(level)
    )
    log_events(log, "events done", "event done", events, last_position=7)
    return [dict(call.kwargs) for call in capture.calls]


def test_a_batch_has_one_line_with_the_count_and_no_fields_of_its_events() -> None:
    batch = [event(number, UnreadEvent) for number in range(3)]
    [line] = logged(logging.INFO, *batch)
    assert line == {"event": "events done", "count": 3, "last_position": 7}


def test_a_batch_of_one_event_names_it_and_its_trace() -> None:
    [line] = logged(logging.INFO, event(1))
    assert (line["event_id"], line["key"], line["trace_id"]) == ("evt_1", "ord_1", TRACE)


def test_at_debug_each_event_has_a_line() -> None:
    lines = logged(logging.DEBUG, event(1), event(2))
    assert [line["event"] for line in lines] == ["events done", "event done", "event done"]
    assert [line["event_id"] for line in lines[1:]] == ["evt_1", "evt_2"]


def test_nothing_is_logged_of_no_event() -> None:
    assert logged(logging.DEBUG) == []
