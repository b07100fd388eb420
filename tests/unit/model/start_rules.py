"""Rules of flows 3 and 4: which interviews may start, and how payment handles a start."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from interview_svc.domain.cached_code import CachedCode
from interview_svc.domain.events import CancelReason
from interview_svc.domain.session_state import SessionStatus
from interview_svc.domain.sessions import Session
from payment_svc.domain.access_code_errors import AccessCodeNotRedeemable
from payment_svc.domain.access_code_status import AccessCodeStatus
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.refunds import Refund
from payment_svc.use_cases import access_codes
from tests.fakes.interview import InMemoryCachedCodes
from tests.unit.model.order import ORDER
from tests.unit.model.rules import Patch, Rule
from tests.unit.model.world import Scenario, ignore_the_expiry


def _skip_the_check_of_the_cached_code(patch: Patch) -> None:
    patch.setattr(CachedCode, "check_startable", lambda *_: None)


def _find_the_order_by_any_code(patch: Patch) -> None:
    async def lock_by_order(cached_codes: InMemoryCachedCodes, _code: str) -> CachedCode | None:
        return (await cached_codes.get_many([ORDER])).get(ORDER)

    patch.setattr(InMemoryCachedCodes, "get_by_code", lock_by_order)


def _start_sessions_repeatedly(patch: Patch) -> None:
    start = Session.start

    def starting(session: Session, *args: Any) -> None:
        session.status = SessionStatus.PREPARED
        start(session, *args)

    patch.setattr(Session, "start", starting)


def _reject_no_refund(patch: Patch) -> None:
    patch.setattr(Refund, "is_rejected_by", lambda *_: False)


def _reject_by_answers_only(patch: Patch) -> None:
    patch.setattr(
        Refund,
        "is_rejected_by",
        lambda refund, answered: refund.waiting and answered == refund.refund_id,
    )


def _reject_by_starts_without_answer_only(patch: Patch) -> None:
    patch.setattr(
        Refund, "is_rejected_by", lambda refund, answered: refund.waiting and not answered
    )


def _reject_with_a_live_code_only(patch: Patch) -> None:
    rejected_by = Refund.is_rejected_by
    seen: list[AccessCode] = []
    redeem = AccessCode.redeem

    def redeeming(code: AccessCode, *args: Any) -> None:
        seen[:] = [replace(code, events=[], audit=[])]
        redeem(code, *args)

    live = {AccessCodeStatus.ACTIVE, AccessCodeStatus.SUSPENDED}
    patch.setattr(AccessCode, "redeem", redeeming)
    patch.setattr(
        Refund,
        "is_rejected_by",
        lambda refund, answered: seen[0].status in live and rejected_by(refund, answered),
    )


def _count_rejected_starts(patch: Patch) -> None:
    patch.setattr(AccessCode, "is_redeemed_by", lambda *_: True)


def _count_accepted_starts_only(patch: Patch) -> None:
    patch.setattr(Session, "interview_ended", False)


def _revert_starts_in_progress_only(patch: Patch) -> None:
    patch.setattr(
        Session,
        "start_reverted",
        property(lambda session: session.cancel_reason is CancelReason.USE_REJECTED),
    )


def _count_interviews_that_were_not_completed(patch: Patch) -> None:
    def interview_ended(session: Session) -> bool:
        ended = session.was_started and not session.is_open
        return ended and session.cancel_reason is not CancelReason.USE_REJECTED

    patch.setattr(Session, "interview_ended", property(interview_ended))


def _count_interviews_in_progress(patch: Patch) -> None:
    patch.setattr(
        Session,
        "interview_ended",
        property(lambda session: session.was_started and not session.start_reverted),
    )


def _refuse_repeated_starts(patch: Patch) -> None:
    redeem = AccessCode.redeem

    def redeeming(code: AccessCode, session: str, started: Any, event: str, now: datetime) -> None:
        if code.status is AccessCodeStatus.REDEEMED:
            raise AccessCodeNotRedeemable(code.id, code.effective_status(now))
        redeem(code, session, started, event, now)

    patch.setattr(AccessCode, "redeem", redeeming)


def _reject_starts_of_suspended_codes(patch: Patch) -> None:
    _redeem_as(patch, AccessCodeStatus.SUSPENDED, AccessCodeStatus.REVOKED)


def _reject_starts_of_expired_codes(patch: Patch) -> None:
    _redeem_as(patch, AccessCodeStatus.EXPIRED, AccessCodeStatus.REVOKED)


def _redeem_expired_codes(patch: Patch) -> None:
    redeem = AccessCode.redeem

    def redeeming(code: AccessCode, session: str, started: Any, event: str, now: datetime) -> None:
        in_time = min(started, code.expire_at - timedelta(seconds=1))
        redeem(code, session, in_time, event, now)

    patch.setattr(AccessCode, "redeem", redeeming)


def _redeem_revoked_codes(patch: Patch) -> None:
    _redeem_as(patch, AccessCodeStatus.REVOKED, AccessCodeStatus.ACTIVE)


def _redeem_as(patch: Patch, status: AccessCodeStatus, mistaken: AccessCodeStatus) -> None:
    """Redeems a code in one status as if it had another."""
    redeem = AccessCode.redeem

    def redeeming(code: AccessCode, session: str, started: Any, event: str, now: datetime) -> None:
        if code.status is not status:
            redeem(code, session, started, event, now)
            return
        code.status = mistaken
        redeem(code, session, started, event, now)
        if code.status is mistaken:
            code.status = status
        code.events[:] = [replace(event, record=code.snapshot()) for event in code.events]

    patch.setattr(AccessCode, "redeem", redeeming)


def _ignore_replacements(patch: Patch) -> None:
    def order_and_code(command: Any, orders: Any, codes: Any) -> Any:
        return orders[command.order_id], codes[command.access_code_id]

    patch.setattr(access_codes, "_order_and_code", order_and_code)


def _continue_rejected_sessions(patch: Patch) -> None:
    patch.setattr(Session, "reject_use", lambda *_: None)


def _cancel_completed_sessions(patch: Patch) -> None:
    reject_use = Session.reject_use

    def rejecting(session: Session, now: datetime) -> None:
        reject_use(session, now)
        if session.used_without_right:
            session._cancel(CancelReason.USE_REJECTED, now)

    patch.setattr(Session, "reject_use", rejecting)


RULES = [
    Rule(
        "a start checks the cached code again",
        _skip_the_check_of_the_cached_code,
        Scenario(start=1, refund=1),
    ),
    Rule(
        "a start needs the order's current code",
        _find_the_order_by_any_code,
        Scenario(start=1, reissue=1),
    ),
    Rule("a start is before the code's expiry", ignore_the_expiry, Scenario(start=1, expire=1)),
    Rule(
        "only a PREPARED session can start",
        _start_sessions_repeatedly,
        Scenario(start=1, fallback=1, complete=1),
    ),
    Rule("a start rejects the waiting refund", _reject_no_refund, Scenario(start=1, refund=1)),
    Rule(
        "a start that answers no refund rejects the waiting refund",
        _reject_by_answers_only,
        Scenario(start=1, refund=1, lose=1),
        allow_waiting=True,
    ),
    Rule(
        "a start that answers the waiting refund rejects it",
        _reject_by_starts_without_answer_only,
        Scenario(start=1, refund=1, revoke=1, complete=1, idle_ask=1),
    ),
    Rule(
        "a start rejects the refund of an expired code too",
        _reject_with_a_live_code_only,
        Scenario(start=1, refund=1, expire=1, idle_ask=1),
    ),
    Rule(
        "a start with a revoked code rejects no refund while its interview is in progress",
        _count_rejected_starts,
        Scenario(start=1, refund=1, revoke=1, idle_ask=1),
    ),
    Rule(
        "a start after the code's expiry rejects no refund while its interview is in progress",
        _count_rejected_starts,
        Scenario(late_start=1, refund=1, expire=1, idle_ask=1),
    ),
    Rule(
        "a repeated start rejects no second refund after it was reverted",
        _count_rejected_starts,
        Scenario(start=1, refund=2, revoke=1, decline=1, idle_ask=2),
    ),
    Rule(
        "a completed interview rejects the refund although the use is rejected",
        _count_accepted_starts_only,
        Scenario(start=1, refund=1, revoke=1, complete=1, idle_ask=1),
    ),
    Rule(
        "an interview in progress has not ended",
        _count_interviews_in_progress,
        Scenario(start=1, refund=1, revoke=1, idle_ask=1),
    ),
    Rule(
        "a cancelled interview rejects no refund if the use is rejected",
        _count_interviews_that_were_not_completed,
        Scenario(start=1, refund=1, revoke=1, cancel=1, idle_ask=1),
    ),
    Rule(
        "an interview past its deadline rejects no refund if the use is rejected",
        _count_interviews_that_were_not_completed,
        Scenario(start=1, refund=1, revoke=1, deadline=1, idle_ask=1),
    ),
    Rule(
        "a rejected start of a cancelled interview counts as none",
        _revert_starts_in_progress_only,
        Scenario(start=1, refund=1, revoke=1, cancel=1, idle_ask=1),
    ),
    Rule(
        "a repeated start is not another start",
        _refuse_repeated_starts,
        Scenario(start=1, again=1),
    ),
    Rule(
        "a suspension does not revert a start",
        _reject_starts_of_suspended_codes,
        Scenario(start=1, suspend=1),
    ),
    Rule(
        "a start in time counts after the code's expiry",
        _reject_starts_of_expired_codes,
        Scenario(start=1, expire=1),
    ),
    Rule(
        "a start after the code's expiry is rejected",
        _redeem_expired_codes,
        Scenario(late_start=1, expire=1),
    ),
    Rule(
        "a start with a replaced code redeems the current one",
        _ignore_replacements,
        Scenario(start=1, reissue=1),
    ),
    Rule(
        "a revoked code cannot be redeemed",
        _redeem_revoked_codes,
        Scenario(start=1, revoke=1),
    ),
    Rule(
        "a rejected use cancels its session",
        _continue_rejected_sessions,
        Scenario(start=1, revoke=1),
    ),
    Rule(
        "a completed interview stays completed",
        _cancel_completed_sessions,
        Scenario(start=1, revoke=1, complete=1),
    ),
]
