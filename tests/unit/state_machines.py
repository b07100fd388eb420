"""The state diagrams of all aggregates, and assertions for stateful tests against them.

The state machines in test_*_state_machine.py run arbitrary steps, including invalid, late and
repeated ones, against an aggregate and against a small model that is derived from the diagram.
"""

from collections.abc import Callable, Coroutine, Mapping
from copy import deepcopy
from dataclasses import fields
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

Result = TypeVar("Result")
Edges = Mapping[str, str]

# The diagrams: each state with the states that may follow it.
ACCESS_CODE: Edges = {
    "ACTIVE": "REDEEMED EXPIRED SUSPENDED REVOKED",
    "SUSPENDED": "ACTIVE REDEEMED EXPIRED REVOKED",
    "EXPIRED": "REDEEMED",
    "REDEEMED": "",
    "REVOKED": "",
}
ORDER: Edges = {
    "PENDING_PAYMENT": "PAID EXPIRED CANCELLED",
    "PAID": "REFUND_PENDING",
    "PARTIALLY_REFUNDED": "REFUND_PENDING",
    "REFUND_PENDING": "PAID PARTIALLY_REFUNDED REFUNDED",
    "EXPIRED": "",
    "CANCELLED": "",
    "REFUNDED": "",
}
PAYMENT: Edges = {
    "PENDING": "PROCESSING",
    "PROCESSING": "SUCCEEDED FAILED CANCELLED UNKNOWN",
    # The reconciliation queries the outcome; PROCESSING while it does.
    "UNKNOWN": "PROCESSING SUCCEEDED FAILED CANCELLED",
    "SUCCEEDED": "",
    "FAILED": "",
    "CANCELLED": "",
}
REFUND: Edges = {
    "PENDING": "SUCCEEDED FAILED REJECTED UNKNOWN",
    "UNKNOWN": "PENDING SUCCEEDED FAILED",
    "SUCCEEDED": "",
    "FAILED": "",
    "REJECTED": "",
}
SESSION: Edges = {
    "PREPARED": "IN_PROGRESS EXPIRED CANCELLED",
    "IN_PROGRESS": "COMPLETED EXPIRED CANCELLED",
    "COMPLETED": "EVALUATED",
    "EVALUATED": "",
    "EXPIRED": "",
    "CANCELLED": "",
}
NOTIFICATION: Edges = {
    "QUEUED": "SENDING SUPPRESSED",
    "SENDING": "SENT DEFERRED FAILED SUPPRESSED",
    "DEFERRED": "SENDING SUPPRESSED",
    "SENT": "",
    "FAILED": "",
    "SUPPRESSED": "",
}

# Many short runs from different typical states find more faults than few long runs.
STATE_MACHINE_SETTINGS = settings(
    max_examples=200,
    stateful_step_count=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def all_fields(*aggregates: Any) -> list[dict[str, Any]]:
    """All fields of aggregates, also those that `==` ignores."""
    return [
        {field.name: deepcopy(getattr(aggregate, field.name)) for field in fields(aggregate)}
        for aggregate in aggregates
    ]


def assert_refused(
    error: type[Exception], subject: str | None, step: Callable[[], object], *aggregates: Any
) -> None:
    """The step raises exactly this error, with this subject or None, and changes nothing."""
    before = all_fields(*aggregates)
    with pytest.raises(error) as caught:
        step()
    assert type(caught.value) is error
    assert getattr(caught.value, "subject", None) == subject
    assert all_fields(*aggregates) == before


def assert_unchanged(step: Callable[[], Result], *aggregates: Any) -> Result:
    """The step is allowed and changes nothing, including events; returns its result."""
    before = all_fields(*aggregates)
    result = step()
    assert all_fields(*aggregates) == before
    return result


def take_all(collected: list[Result]) -> list[Result]:
    """Removes and returns the collected events or audit entries, as a repository does."""
    taken = list(collected)
    collected.clear()
    return taken


def is_allowed(edges: Edges, before: str, after: str) -> bool:
    """Whether the diagram has the transition, or the state stays the same."""
    return before == after or after in edges[before].split()


def final_states(edges: Edges) -> set[str]:
    """The states without a following state."""
    return {state for state, following in edges.items() if not following}


def run_synchronously(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine that never suspends, such as a use case over repositories in memory."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    work.close()
    raise AssertionError("the coroutine suspended")
