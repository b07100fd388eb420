"""Flows 3 and 4: what lets an interview start, and what payment makes of a start.

One rule of flow 4 isn't here: that a start after the code's end is rejected. All clocks of this
world agree, so interview never sends one; `test_access_code_life.py` shows what becomes of it.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from interview_svc.domain.cached_code import CachedCode, check_valid
from interview_svc.domain.events import CancelReason
from interview_svc.domain.session_states import SessionStatus
from interview_svc.domain.sessions import Session
from payment_svc.domain.access_code_errors import AccessCodeNotRedeemable
from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus
from payment_svc.domain.refunds import Refund
from payment_svc.use_cases import access_codes
from tests.fakes.interview import EntriesInMemory
from tests.unit.model.order import EARLY, ORDER
from tests.unit.model.rules import Patch, Rule
from tests.unit.model.world import Scenario


def _startable_without_looking(patch: Patch) -> None:
    patch.setattr(CachedCode, "check_startable", lambda *_: None)


def _any_code_opens_its_order(patch: Patch) -> None:
    async def entry_of_the_order(entries: EntriesInMemory, _code: str) -> CachedCode | None:
        return (await entries.get_many([ORDER])).get(ORDER)

    patch.setattr(EntriesInMemory, "get_by_code", entry_of_the_order)


def _startable_for_ever(patch: Patch) -> None:
    patch.setattr(
        CachedCode, "check_startable", lambda entry, _now: check_valid(entry.judge(EARLY))
    )


def _sessions_start_again(patch: Patch) -> None:
    start = Session.start

    def starting(session: Session, *args: Any) -> None:
        session.status = SessionStatus.PREPARED
        start(session, *args)

    patch.setattr(Session, "start", starting)


def _starts_reject_no_refund(patch: Patch) -> None:
    patch.setattr(Refund, "is_rejected_by", lambda *_: False)


def _only_answers_reject_refunds(patch: Patch) -> None:
    patch.setattr(
        Refund,
        "is_rejected_by",
        lambda refund, cited: refund.waiting and cited == refund.refund_id,
    )


def _only_plain_starts_reject_refunds(patch: Patch) -> None:
    patch.setattr(Refund, "is_rejected_by", lambda refund, cited: refund.waiting and not cited)


def _starts_reject_only_with_a_live_code(patch: Patch) -> None:
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
        lambda refund, cited: seen[0].status in live and rejected_by(refund, cited),
    )


def _starts_count_once(patch: Patch) -> None:
    redeem = AccessCode.redeem

    def redeeming(code: AccessCode, session: str, started: Any, event: str, now: datetime) -> None:
        if code.status is AccessCodeStatus.REDEEMED:
            raise AccessCodeNotRedeemable(code, now)
        redeem(code, session, started, event, now)

    patch.setattr(AccessCode, "redeem", redeeming)


def _suspension_undoes_starts(patch: Patch) -> None:
    _redeem_as(patch, AccessCodeStatus.SUSPENDED, AccessCodeStatus.REVOKED)


def _expiry_undoes_starts(patch: Patch) -> None:
    _redeem_as(patch, AccessCodeStatus.EXPIRED, AccessCodeStatus.REVOKED)


def _revoked_codes_are_redeemed(patch: Patch) -> None:
    _redeem_as(patch, AccessCodeStatus.REVOKED, AccessCodeStatus.ACTIVE)


def _redeem_as(patch: Patch, status: AccessCodeStatus, mistaken: AccessCodeStatus) -> None:
    """Judges a start of a code in one status as if it were in another."""
    redeem = AccessCode.redeem

    def redeeming(code: AccessCode, session: str, started: Any, event: str, now: datetime) -> None:
        if code.status is not status:
            redeem(code, session, started, event, now)
            return
        code.status = mistaken
        redeem(code, session, started, event, now)
        if code.status is mistaken:
            code.status = status
        code.events[:] = [replace(told, record=code.record()) for told in code.events]

    patch.setattr(AccessCode, "redeem", redeeming)


def _replaced_codes_are_worthless(patch: Patch) -> None:
    def started(command: Any, orders: Any, codes: Any) -> Any:
        return orders[command.order_id], codes[command.access_code_id]

    patch.setattr(access_codes, "_started", started)


def _rejected_uses_go_on(patch: Patch) -> None:
    patch.setattr(Session, "reject_use", lambda *_: None)


def _what_was_completed_is_undone(patch: Patch) -> None:
    reject_use = Session.reject_use

    def rejecting(session: Session, now: datetime) -> None:
        reject_use(session, now)
        if session.used_without_right:
            session._cancel(CancelReason.USE_REJECTED, now)

    patch.setattr(Session, "reject_use", rejecting)


RULES = [
    Rule(
        "a start reads interview's own entry again",
        _startable_without_looking,
        Scenario(start=1, refund=1),
    ),
    Rule(
        "a start needs the order's current code",
        _any_code_opens_its_order,
        Scenario(start=1, reissue=1),
    ),
    Rule("a start comes before the code's end", _startable_for_ever, Scenario(start=1, expire=1)),
    Rule(
        "only a PREPARED session starts",
        _sessions_start_again,
        Scenario(start=1, fallback=1, complete=1),
    ),
    Rule(
        "a start rejects a refund that waits", _starts_reject_no_refund, Scenario(start=1, refund=1)
    ),
    Rule(
        "a start that names no refund rejects the one that waits",
        _only_answers_reject_refunds,
        Scenario(start=1, refund=1, lose=1),
        patient=True,
    ),
    Rule(
        "a start that names the waiting refund rejects it",
        _only_plain_starts_reject_refunds,
        Scenario(start=1, refund=1, revoke=1),
    ),
    Rule(
        "a start rejects it whatever the code's status",
        _starts_reject_only_with_a_live_code,
        Scenario(start=1, refund=1, revoke=1),
    ),
    Rule(
        "a start that is told again is no other start",
        _starts_count_once,
        Scenario(start=1, again=1),
    ),
    Rule(
        "a suspension never undoes a start",
        _suspension_undoes_starts,
        Scenario(start=1, suspend=1),
    ),
    Rule(
        "a start in time counts after the code's end",
        _expiry_undoes_starts,
        Scenario(start=1, expire=1),
    ),
    Rule(
        "a code that was replaced redeems the current one",
        _replaced_codes_are_worthless,
        Scenario(start=1, reissue=1),
    ),
    Rule(
        "a revoked code is never redeemed",
        _revoked_codes_are_redeemed,
        Scenario(start=1, revoke=1),
    ),
    Rule("a rejected use cancels its session", _rejected_uses_go_on, Scenario(start=1, revoke=1)),
    Rule(
        "a completed interview stays completed",
        _what_was_completed_is_undone,
        Scenario(start=1, revoke=1, complete=1),
    ),
]
