"""Answers that previews remember: for a few seconds, and not past an event about the order."""

from datetime import UTC, datetime, timedelta

from interview_svc.domain.cached_code import CodeRecord, CodeStatus, ValidationReason
from interview_svc.use_cases.validation import Validation
from interview_svc.workflows.code_validation import PreviewCache

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
SECONDS = 5.0


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def answer(code: str = "code 1", order: str = "ord_1") -> Validation:
    record = CodeRecord(
        order, "acc_1", code, CodeStatus.ACTIVE, NOW + timedelta(days=1), 1, "general"
    )
    return Validation(ValidationReason.VALID, record)


def test_an_answer_is_remembered_for_its_time() -> None:
    clock = Clock()
    previews = PreviewCache(SECONDS, clock)
    previews.keep(answer(), previews.now())
    clock.seconds += SECONDS - 0.1
    assert previews.find("code 1") == answer()
    assert previews.find("code 2") is None
    clock.seconds += 0.2
    assert previews.find("code 1") is None


def test_an_event_about_the_order_ends_its_answers_and_no_others() -> None:
    """Also that of a code that was replaced: it is the order's too."""
    clock = Clock()
    previews = PreviewCache(SECONDS, clock)
    for code, order in (("old code", "ord_1"), ("new code", "ord_1"), ("code 2", "ord_2")):
        previews.keep(answer(code, order), previews.now())
    clock.seconds += 1
    previews.heard(["ord_1"])
    assert previews.find("old code") is None
    assert previews.find("new code") is None
    assert previews.find("code 2") is not None


def test_an_answer_that_was_asked_for_before_the_event_is_not_believed() -> None:
    """It may have overtaken the event: asked before, kept after."""
    clock = Clock()
    previews = PreviewCache(SECONDS, clock)
    asked_at = previews.now()
    clock.seconds += 0.1
    previews.heard(["ord_1"])
    clock.seconds += 0.1
    previews.keep(answer(), asked_at)
    assert previews.find("code 1") is None
    previews.keep(answer(), previews.now())
    assert previews.find("code 1") == answer()


def test_a_remembered_answer_knows_when_the_code_runs_out() -> None:
    found = answer()
    assert found.reason_at(found.record.expire_at - timedelta(seconds=1)) is ValidationReason.VALID
    assert found.reason_at(found.record.expire_at) is ValidationReason.EXPIRED
