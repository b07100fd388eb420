"""Events and calls caused by an event continue its trace."""

import re
from contextvars import copy_context

import pytest

from eventbus.trace_context import continue_trace, enter_trace, in_traces, traceparent_for

TRACE, SPAN = "a" * 32, "b" * 16
GIVEN = f"00-{TRACE}-{SPAN}-01"
FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01")


def test_continuing_a_trace_begins_a_new_span() -> None:
    found = continue_trace(GIVEN)
    assert FORM.fullmatch(found)
    assert found[3:35] == TRACE
    assert found[36:52] != SPAN


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"{GIVEN}\n",
        f"01-{TRACE}-{SPAN}-01",
    ],
)
def test_an_invalid_traceparent_begins_a_new_trace(given: str) -> None:
    found = continue_trace(given)
    assert FORM.fullmatch(found)
    assert found[3:35] not in {TRACE, "0" * 32}


def test_the_trace_of_the_key_takes_precedence_over_that_of_the_call() -> None:
    def published() -> list[str]:
        enter_trace(f"00-{'c' * 32}-{SPAN}-01")
        with in_traces({"ord_1": GIVEN}):
            return [traceparent_for("ord_1"), traceparent_for("ord_2")]

    assert [found[3:35] for found in copy_context().run(published)] == [TRACE, "c" * 32]


def test_a_trace_ends_with_its_context() -> None:
    def published() -> str:
        enter_trace(GIVEN)
        return traceparent_for("")

    assert copy_context().run(published)[3:35] == TRACE
    assert traceparent_for("")[3:35] != TRACE
