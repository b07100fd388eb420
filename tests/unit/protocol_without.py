"""The rules of the protocol, each with how to take it away and what may happen then.

Taking a rule away patches the product for the time of a test. Nothing in the product knows of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from interview_svc.domain.code_entries import CodeEntry, Heard
from interview_svc.domain.sessions import Session
from payment_svc import consumers
from payment_svc.domain import refunds as refund_domain
from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus
from payment_svc.domain.refunds import NoRefundAnswer, Refund, RefundOutcome, RefundStatus
from payment_svc.use_cases import access_codes
from tests.unit.protocol_world import ORDER, Scenario

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Rule:
    """A rule, how to take it away, and things that may happen and then end badly."""

    name: str
    take_away: Callable[[Patch], None]
    scenario: Scenario


def _startable_without_looking(patch: Patch) -> None:
    patch.setattr(CodeEntry, "check_startable", lambda *_: None)


def _starts_reject_no_refund(patch: Patch) -> None:
    patch.setattr(Refund, "is_rejected_by", lambda *_: False)


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


def _any_answer_releases(patch: Patch) -> None:
    async def releasing(_commands: Any, uow: Any, *, now: Any) -> None:
        for refund in (await uow.refunds.find_open([ORDER])).values():
            if refund.waiting:
                refund.release(now)
                await uow.refunds.save(refund)

    patch.setattr(consumers, "release_refunds", releasing)


def _started_sessions_keep_silent(patch: Patch) -> None:
    patch.setattr(Session, "cite", lambda *_: None)


def _no_session_no_answer(patch: Patch) -> None:
    withhold = CodeEntry.withhold
    patch.setattr(
        CodeEntry,
        "withhold",
        lambda entry, refund_id, session_id, now: (
            withhold(entry, refund_id, session_id, now) if session_id else None
        ),
    )


def _refunds_hold_nothing_back(patch: Patch) -> None:
    patch.setattr(AccessCode, "hold_for_refund", lambda *_: None)


def _refunds_ask_nobody(patch: Patch) -> None:
    of_order = Refund.of_order

    def released(*args: Any) -> Refund:
        refund = of_order(*args)
        refund.released_at = refund.created_at
        return refund

    patch.setattr(Refund, "of_order", released)


def _refunds_ask_only_for_live_codes(patch: Patch) -> None:
    hold = Refund.hold
    live = {AccessCodeStatus.ACTIVE, AccessCodeStatus.SUSPENDED}

    def holding(refund: Refund, code: AccessCode, now: Any) -> None:
        if code.status in live:
            hold(refund, code, now)
        else:
            refund.released_at = now

    patch.setattr(Refund, "hold", holding)


def _operators_lift_every_hold(patch: Patch) -> None:
    lift = AccessCode._lift

    def lifting(code: AccessCode, *args: Any) -> None:
        code.holds = frozenset()
        lift(code, *args)

    patch.setattr(AccessCode, "_lift", lifting)


def _arrival_decides(patch: Patch) -> None:
    patch.setattr(CodeEntry, "apply", lambda entry, heard: entry._take(heard, newer=True))


def _late_payments_prepare_nothing(patch: Patch) -> None:
    def taking(entry: CodeEntry, heard: Heard, *, newer: bool) -> bool:
        if newer:
            entry.record, entry.refunded = heard.record, heard.refunded
        return newer

    patch.setattr(CodeEntry, "_take", taking)


def _suspension_undoes_starts(patch: Patch) -> None:
    _redeem_unless(patch, AccessCodeStatus.SUSPENDED)


def _expiry_undoes_starts(patch: Patch) -> None:
    _redeem_unless(patch, AccessCodeStatus.EXPIRED)


def _redeem_unless(patch: Patch, status: AccessCodeStatus) -> None:
    redeem = AccessCode.redeem

    def redeeming(code: AccessCode, session: str, started: Any, event: str, now: Any) -> None:
        if code.status is not status:
            redeem(code, session, started, event, now)
            return
        judged = replace(code, status=AccessCodeStatus.REVOKED, events=[], audit=[])
        judged.redeem(session, started, event, now)
        code.events += [replace(told, record=code.record()) for told in judged.events]

    patch.setattr(AccessCode, "redeem", redeeming)


def _replaced_codes_are_worthless(patch: Patch) -> None:
    def started(command: Any, orders: Any, codes: Any) -> Any:
        return orders[command.order_id], codes[command.access_code_id]

    patch.setattr(access_codes, "_started", started)


def _rejected_uses_go_on(patch: Patch) -> None:
    patch.setattr(Session, "reject_use", lambda *_: None)


def _sessions_follow_nothing(patch: Patch) -> None:
    patch.setattr(Session, "follow", lambda *_: False)


def _held_codes_are_reissued(patch: Patch) -> None:
    standing = AccessCode.standing
    held = AccessCodeStatus.SUSPENDED
    patch.setattr(
        AccessCode,
        "standing",
        lambda code, now: (
            AccessCodeStatus.ACTIVE if standing(code, now) is held else standing(code, now)
        ),
    )


def _silence_is_a_refusal(patch: Patch) -> None:
    status = refund_domain._status

    def judged(outcome: RefundOutcome) -> tuple[RefundStatus, str]:
        silent = isinstance(outcome, NoRefundAnswer)
        return (RefundStatus.FAILED, "TIME_OUT") if silent else status(outcome)

    patch.setattr(refund_domain, "_status", judged)


def NOBODY_ASKS(_: Patch) -> None:  # noqa: N802
    """The scenario lets nobody ask again: nothing else is to be taken away."""


RULES = [
    Rule(
        "a start reads interview's own entry again",
        _startable_without_looking,
        Scenario(start=1, refund=1),
    ),
    Rule(
        "a start rejects a refund that waits", _starts_reject_no_refund, Scenario(start=1, refund=1)
    ),
    Rule(
        "a start rejects it whatever the code's status",
        _starts_reject_only_with_a_live_code,
        Scenario(start=1, refund=1, revoke=1),
    ),
    Rule(
        "only an answer that cites the waiting refund releases it",
        _any_answer_releases,
        Scenario(start=1, refund=2, decline=1, ask=1),
    ),
    Rule(
        "a started session answers too",
        _started_sessions_keep_silent,
        Scenario(start=1, revoke=1, refund=1),
    ),
    Rule("an order without a session answers too", _no_session_no_answer, Scenario(refund=1)),
    Rule(
        "a full refund holds the code back", _refunds_hold_nothing_back, Scenario(start=1, refund=1)
    ),
    Rule("a full refund asks first", _refunds_ask_nobody, Scenario(start=1, refund=1)),
    Rule(
        "a full refund asks whatever the code's status",
        _refunds_ask_only_for_live_codes,
        Scenario(start=1, refund=1, expire=1),
    ),
    Rule("a refund that got no answer asks again", NOBODY_ASKS, Scenario(refund=1, lose=1)),
    Rule(
        "each side lifts only its own hold",
        _operators_lift_every_hold,
        Scenario(start=1, suspend=1, reinstate=1, refund=1),
    ),
    Rule("the highest version wins", _arrival_decides, Scenario(start=1, refund=1)),
    Rule(
        "a late PaymentCompleted still prepares the session",
        _late_payments_prepare_nothing,
        Scenario(suspend=1),
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
    Rule("a rejected use cancels its session", _rejected_uses_go_on, Scenario(start=1, revoke=1)),
    Rule("the prepared session follows the entry", _sessions_follow_nothing, Scenario(refund=1)),
    Rule(
        "only an ACTIVE code is reissued",
        _held_codes_are_reissued,
        Scenario(start=1, reissue=1, refund=1),
    ),
    Rule(
        "a provider's silence is no refusal",
        _silence_is_a_refusal,
        Scenario(refund=1, silence=1),
    ),
]
