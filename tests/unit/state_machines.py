"""What every life of an aggregate is held to: a step does what the diagram says, or it is refused.

The machines of test_lives_of_* play arbitrary steps, also nonsensical, late and repeated ones,
against an aggregate and against a small model of it that knows the diagram and not the code.
"""

from collections.abc import Callable, Coroutine, Mapping
from copy import deepcopy
from dataclasses import fields
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

Result = TypeVar("Result")
Edges = Mapping[str, str]

# The diagrams: each state, and those that may follow it.
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
    # Reconciling tells what it is, at once or after being asked again.
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

# Many short lives that begin anywhere on a usual way find more than few long ones.
LIVES = settings(
    max_examples=200,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def whole(*aggregates: Any) -> list[dict[str, Any]]:
    """Everything that aggregates hold, also what doesn't count when they are compared."""
    return [
        {field.name: deepcopy(getattr(one, field.name)) for field in fields(one)}
        for one in aggregates
    ]


def refused(
    error: type[Exception], subject: str | None, step: Callable[[], object], *aggregates: Any
) -> None:
    """This very error, which names the subject (None: it names none), and nothing has changed."""
    before = whole(*aggregates)
    with pytest.raises(error) as caught:
        step()
    assert type(caught.value) is error
    assert getattr(caught.value, "subject", None) == subject
    assert whole(*aggregates) == before


def unmoved(step: Callable[[], Result], *aggregates: Any) -> Result:
    """The step is allowed, changes nothing and says nothing; returns what it returned."""
    before = whole(*aggregates)
    result = step()
    assert whole(*aggregates) == before
    return result


def taken_from(collected: list[Result]) -> list[Result]:
    """What an aggregate has collected since the last look; as a repository, it takes it away."""
    taken = list(collected)
    collected.clear()
    return taken


def allowed(edges: Edges, before: str, after: str) -> bool:
    """Whether a diagram, each state with those that follow it, has the step or there is none."""
    return before == after or after in edges[before].split()


def finals(edges: Edges) -> set[str]:
    """The states that are never left."""
    return {state for state, following in edges.items() if not following}


def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """What a use case over memory returns; there it never has to wait."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    work.close()
    raise AssertionError("a use case over memory waited")
