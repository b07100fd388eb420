"""Rules of flow 5: the refund saga, and what a session that is not started yet follows.

Two rules cannot be disabled here, since all events of this world differ and carry the present
record: that a repeated request is a new event, and that it has the current version.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from interview_svc import event_handlers as interview_consumers
from interview_svc.domain.cached_code import CachedCode, CodeStatus, CodeUpdate
from interview_svc.domain.events import CancelReason
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.code_updates import RefundRequest
from payment_svc import event_handlers as payment_consumers
from payment_svc.domain import refunds as refund_domain
from payment_svc.domain.access_code_events import AccessCodeRevoked
from payment_svc.domain.access_code_status import AccessCodeStatus
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.orders import Order, OrderStatus
from payment_svc.domain.refunds import Refund, RefundOutcome, RefundOutcomeUnknown, RefundStatus
from payment_svc.use_cases.ports import Clock
from tests.unit.model.order import BEFORE_EXPIRY, ORDER
from tests.unit.model.rules import Patch, Rule
from tests.unit.model.world import Scenario

_LIVE = {AccessCodeStatus.ACTIVE, AccessCodeStatus.SUSPENDED}


# payment


def _release_full_refunds_at_once(patch: Patch) -> None:
    of_order = Refund.of_order

    def released(*args: Any) -> Refund:
        refund = of_order(*args)
        refund.released_at = refund.created_at
        return refund

    patch.setattr(Refund, "of_order", released)


def _request_answers_for_live_codes_only(patch: Patch) -> None:
    hold = Refund.hold

    def holding(refund: Refund, code: AccessCode, now: datetime) -> None:
        if code.status in _LIVE:
            hold(refund, code, now)
        else:
            refund.released_at = now

    patch.setattr(Refund, "hold", holding)


def _release_refunds_with_an_amount(patch: Patch) -> None:
    of_order = Refund.of_order

    def asked_for(refund_id: str, order: Order, amount: Any, *args: Any) -> Refund:
        refund = of_order(refund_id, order, amount, *args)
        if amount is not None:
            refund.full, refund.released_at = False, refund.created_at
        return refund

    patch.setattr(Refund, "of_order", asked_for)


def _refund_redeemed_codes(patch: Patch) -> None:
    hold = AccessCode.hold_for_refund

    def holding(code: AccessCode, *args: Any) -> None:
        if code.status is AccessCodeStatus.REDEEMED:
            code.status = AccessCodeStatus.ACTIVE
        hold(code, *args)

    patch.setattr(AccessCode, "hold_for_refund", holding)


def _allow_concurrent_refunds(patch: Patch) -> None:
    begin = Order.begin_refund

    def beginning(order: Order, amount: Any) -> Any:
        if order.status is OrderStatus.REFUND_PENDING:
            order.status = OrderStatus.PAID
        return begin(order, amount)

    patch.setattr(Order, "begin_refund", beginning)


def _suspend_nothing(patch: Patch) -> None:
    patch.setattr(AccessCode, "hold_for_refund", lambda *_: None)


def _suspend_expired_codes(patch: Patch) -> None:
    hold = AccessCode.hold_for_refund

    def holding(code: AccessCode, *args: Any) -> None:
        if code.status is AccessCodeStatus.EXPIRED:
            code.status = AccessCodeStatus.ACTIVE
        hold(code, *args)

    patch.setattr(AccessCode, "hold_for_refund", holding)


def _request_without_a_new_version(patch: Patch) -> None:
    hold = AccessCode.hold_for_refund

    def holding(code: AccessCode, *args: Any) -> None:
        hold(code, *args)
        code.version -= 1

    patch.setattr(AccessCode, "hold_for_refund", holding)


def _release_by_any_answer(patch: Patch) -> None:
    async def releasing(_commands: Any, uow: Any, *, clock: Clock) -> None:
        for refund in (await uow.refunds.get_open_by_order([ORDER])).values():
            if refund.waiting:
                refund.release(clock())
                await uow.refunds.save(refund)

    patch.setattr(payment_consumers, "release_refunds", releasing)


def _treat_a_lost_response_as_a_refusal(patch: Patch) -> None:
    original = refund_domain._status_of

    def status_of(outcome: RefundOutcome) -> tuple[RefundStatus, str]:
        lost = isinstance(outcome, RefundOutcomeUnknown)
        return (RefundStatus.FAILED, "TIME_OUT") if lost else original(outcome)

    patch.setattr(refund_domain, "_status_of", status_of)


def _keep_refunded_codes(patch: Patch) -> None:
    patch.setattr(AccessCode, "revoke_for_refund", lambda *_: None)


def _keep_the_hold_of_failed_refunds(patch: Patch) -> None:
    patch.setattr(AccessCode, "lift_refund_hold", lambda *_: None)


def _lift_all_holds(patch: Patch) -> None:
    lift = AccessCode._lift

    def lifting(code: AccessCode, *args: Any) -> None:
        code.holds = frozenset()
        lift(code, *args)

    patch.setattr(AccessCode, "_lift", lifting)


def _reissue_suspended_codes(patch: Patch) -> None:
    effective_status = AccessCode.effective_status
    held = AccessCodeStatus.SUSPENDED
    patch.setattr(
        AccessCode,
        "effective_status",
        lambda code, now: (
            AccessCodeStatus.ACTIVE
            if effective_status(code, now) is held
            else effective_status(code, now)
        ),
    )


def _publish_the_old_code_at_a_reissue(patch: Patch) -> None:
    reissue = AccessCode.reissue

    def reissuing(code: AccessCode, *args: Any) -> AccessCode:
        new = reissue(code, *args)
        event = AccessCodeRevoked(
            record=code.snapshot(), occurred_at=BEFORE_EXPIRY, reason="replaced"
        )
        code.events.append(event)
        return new

    patch.setattr(AccessCode, "reissue", reissuing)


# interview


def _ignore_the_record_of_a_request(patch: Patch) -> None:
    answer = interview_consumers.answer_refund_requests

    async def answering(requests: Sequence[RefundRequest], uow: Any, **ports: Any) -> None:
        cached_codes = await uow.cached_codes.get_many([ORDER])
        known = [
            replace(request, update=CodeUpdate(cached_codes[ORDER].record))
            if ORDER in cached_codes
            else request
            for request in requests
        ]
        await answer(known, uow, **ports)

    patch.setattr(interview_consumers, "answer_refund_requests", answering)


def _answer_nothing_for_started_sessions(patch: Patch) -> None:
    patch.setattr(Session, "confirm_started_for_refund", lambda *_: None)


def _answer_nothing_without_a_session(patch: Patch) -> None:
    withhold = CachedCode.confirm_withheld_for_refund
    patch.setattr(
        CachedCode,
        "confirm_withheld_for_refund",
        lambda cached, refund_id, session_id, now: (
            withhold(cached, refund_id, session_id, now) if session_id else None
        ),
    )


def _ignore_old_requests(patch: Patch) -> None:
    answer = interview_consumers.answer_refund_requests

    async def answering(requests: Sequence[RefundRequest], uow: Any, **ports: Any) -> None:
        cached = (await uow.cached_codes.get_many([ORDER])).get(ORDER)
        known = cached.record.version if cached else 0
        new = [request for request in requests if request.update.record.version >= known]
        await answer(new, uow, **ports)

    patch.setattr(interview_consumers, "answer_refund_requests", answering)


def _answer_outdated_requests(patch: Patch) -> None:
    patch.setattr(CachedCode, "prevents_start", True)


def _count_reverted_starts(patch: Patch) -> None:
    patch.setattr(Session, "start_reverted", False)


def _apply_updates_by_arrival(patch: Patch) -> None:
    patch.setattr(CachedCode, "apply", lambda cached, update: cached._merge(update, newer=True))


def _ignore_late_payments(patch: Patch) -> None:
    def merging(cached: CachedCode, update: CodeUpdate, *, newer: bool) -> bool:
        if newer:
            cached.record, cached.refunded = update.record, update.refunded
        return newer

    patch.setattr(CachedCode, "_merge", merging)


def _never_sync_sessions(patch: Patch) -> None:
    patch.setattr(Session, "sync_with_code", lambda *_: False)


def _cancel_sessions_of_suspended_codes(patch: Patch) -> None:
    follow = Session.sync_with_code

    def following(session: Session, cached: CachedCode, now: datetime) -> bool:
        changed = follow(session, cached, now)
        waits = session.is_open and not session.was_started
        if waits and cached.record.status is CodeStatus.SUSPENDED:
            session._cancel(CancelReason.ACCESS_CODE_REVOKED, now)
            return True
        return changed

    patch.setattr(Session, "sync_with_code", following)


RULES = [
    Rule(
        "a full refund requests an answer first",
        _release_full_refunds_at_once,
        Scenario(start=1, refund=1),
    ),
    Rule(
        "a full refund requests an answer for every status of the code",
        _request_answers_for_live_codes_only,
        Scenario(start=1, refund=1, expire=1),
    ),
    Rule(
        "a refund of the remaining amount is a full refund",
        _release_refunds_with_an_amount,
        Scenario(start=1, part=2),
    ),
    Rule(
        "a redeemed code cannot be refunded in full",
        _refund_redeemed_codes,
        Scenario(start=1, refund=1),
    ),
    Rule(
        "an order has one open refund at a time",
        _allow_concurrent_refunds,
        Scenario(refund=2),
    ),
    Rule("a full refund suspends the code", _suspend_nothing, Scenario(start=1, refund=1)),
    Rule(
        "a full refund does not suspend an invalid code",
        _suspend_expired_codes,
        Scenario(refund=1, expire=1),
    ),
    Rule(
        "a refund request is a new version of the code",
        _request_without_a_new_version,
        Scenario(start=1, refund=1),
    ),
    Rule(
        "the record of a refund request updates the cached code",
        _ignore_the_record_of_a_request,
        Scenario(refund=1),
    ),
    Rule(
        "a started session answers too",
        _answer_nothing_for_started_sessions,
        Scenario(start=1, revoke=1, refund=1, complete=1, idle_ask=1),
    ),
    Rule(
        "an order without a session answers too",
        _answer_nothing_without_a_session,
        Scenario(refund=1),
    ),
    Rule(
        "only an answer to the waiting refund releases it",
        _release_by_any_answer,
        Scenario(start=1, refund=2, decline=1, ask=1),
    ),
    Rule(
        "a lost response of the provider is not a refusal",
        _treat_a_lost_response_as_a_refusal,
        Scenario(refund=1, silence=1),
    ),
    Rule("a paid full refund revokes the code", _keep_refunded_codes, Scenario(refund=1)),
    Rule(
        "a failed refund lifts its hold",
        _keep_the_hold_of_failed_refunds,
        Scenario(refund=1, decline=1),
    ),
    Rule("an unanswered refund request is repeated", None, Scenario(refund=1, lose=1)),
    Rule(
        "an old refund request is answered too", _ignore_old_requests, Scenario(refund=1, suspend=1)
    ),
    Rule(
        "an old request is not answered if the cached code is ACTIVE at a newer version",
        _answer_outdated_requests,
        Scenario(refund=1, ask=1, decline=1),
    ),
    Rule(
        "a reverted start does not count",
        _count_reverted_starts,
        Scenario(start=1, revoke=1, refund=1, idle_ask=1),
    ),
    Rule(
        "operators and refunds lift only their own hold",
        _lift_all_holds,
        Scenario(start=1, suspend=1, reinstate=1, refund=1),
    ),
    Rule("the highest version wins", _apply_updates_by_arrival, Scenario(start=1, refund=1)),
    Rule(
        "a late PaymentCompleted prepares the session",
        _ignore_late_payments,
        Scenario(suspend=1),
    ),
    Rule("the prepared session follows the cached code", _never_sync_sessions, Scenario(refund=1)),
    Rule(
        "a suspension does not end a session",
        _cancel_sessions_of_suspended_codes,
        Scenario(suspend=1, reinstate=1),
    ),
    Rule(
        "only an ACTIVE code can be reissued",
        _reissue_suspended_codes,
        Scenario(start=1, reissue=1, refund=1),
    ),
    Rule(
        "a reissue publishes the new code only",
        _publish_the_old_code_at_a_reissue,
        Scenario(reissue=1),
    ),
]
