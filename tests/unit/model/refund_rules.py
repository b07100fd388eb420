"""Flow 5: the refund saga, and what the session that isn't started yet follows.

Two rules aren't here, since every letter of this world is another one and carries the newest
record: that asking again takes a new event id, and the current version.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from interview_svc import event_handlers as interview_consumers
from interview_svc.domain.cached_code import CachedCode, CodeStatus, CodeUpdate
from interview_svc.domain.events import CancelReason
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.code_updates import RefundAsk
from payment_svc import event_handlers as payment_consumers
from payment_svc.domain import refunds as refund_domain
from payment_svc.domain.access_code_events import AccessCodeRevoked
from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus
from payment_svc.domain.orders import Order, OrderStatus
from payment_svc.domain.refunds import Refund, RefundOutcome, RefundOutcomeUnknown, RefundStatus
from tests.unit.model.order import EARLY, ORDER
from tests.unit.model.rules import Patch, Rule
from tests.unit.model.world import Scenario

_LIVE = {AccessCodeStatus.ACTIVE, AccessCodeStatus.SUSPENDED}


# payment's side


def _refunds_ask_nobody(patch: Patch) -> None:
    of_order = Refund.of_order

    def released(*args: Any) -> Refund:
        refund = of_order(*args)
        refund.released_at = refund.created_at
        return refund

    patch.setattr(Refund, "of_order", released)


def _refunds_ask_only_for_live_codes(patch: Patch) -> None:
    hold = Refund.hold

    def holding(refund: Refund, code: AccessCode, now: datetime) -> None:
        if code.status in _LIVE:
            hold(refund, code, now)
        else:
            refund.released_at = now

    patch.setattr(Refund, "hold", holding)


def _parts_never_ask(patch: Patch) -> None:
    of_order = Refund.of_order

    def asked_for(refund_id: str, order: Order, amount: Any, *args: Any) -> Refund:
        refund = of_order(refund_id, order, amount, *args)
        if amount is not None:
            refund.full, refund.released_at = False, refund.created_at
        return refund

    patch.setattr(Refund, "of_order", asked_for)


def _used_codes_are_refunded(patch: Patch) -> None:
    hold = AccessCode.hold_for_refund

    def holding(code: AccessCode, *args: Any) -> None:
        if code.status is AccessCodeStatus.REDEEMED:
            code.status = AccessCodeStatus.ACTIVE
        hold(code, *args)

    patch.setattr(AccessCode, "hold_for_refund", holding)


def _orders_begin_many_refunds(patch: Patch) -> None:
    begin = Order.begin_refund

    def beginning(order: Order, amount: Any) -> Any:
        if order.status is OrderStatus.REFUND_PENDING:
            order.status = OrderStatus.PAID
        return begin(order, amount)

    patch.setattr(Order, "begin_refund", beginning)


def _refunds_hold_nothing_back(patch: Patch) -> None:
    patch.setattr(AccessCode, "hold_for_refund", lambda *_: None)


def _refunds_hold_everything_back(patch: Patch) -> None:
    hold = AccessCode.hold_for_refund

    def holding(code: AccessCode, *args: Any) -> None:
        if code.status is AccessCodeStatus.EXPIRED:
            code.status = AccessCodeStatus.ACTIVE
        hold(code, *args)

    patch.setattr(AccessCode, "hold_for_refund", holding)


def _asking_is_no_change(patch: Patch) -> None:
    hold = AccessCode.hold_for_refund

    def holding(code: AccessCode, *args: Any) -> None:
        hold(code, *args)
        code.version -= 1

    patch.setattr(AccessCode, "hold_for_refund", holding)


def _any_answer_releases(patch: Patch) -> None:
    async def releasing(_commands: Any, uow: Any, *, now: datetime) -> None:
        for refund in (await uow.refunds.find_open([ORDER])).values():
            if refund.waiting:
                refund.release(now)
                await uow.refunds.save(refund)

    patch.setattr(payment_consumers, "release_refunds", releasing)


def _silence_is_a_refusal(patch: Patch) -> None:
    status = refund_domain._status

    def judged(outcome: RefundOutcome) -> tuple[RefundStatus, str]:
        silent = isinstance(outcome, RefundOutcomeUnknown)
        return (RefundStatus.FAILED, "TIME_OUT") if silent else status(outcome)

    patch.setattr(refund_domain, "_status", judged)


def _paid_back_codes_stay(patch: Patch) -> None:
    patch.setattr(AccessCode, "revoke_for_refund", lambda *_: None)


def _failed_refunds_hold_on(patch: Patch) -> None:
    patch.setattr(AccessCode, "lift_refund_hold", lambda *_: None)


def _operators_lift_every_hold(patch: Patch) -> None:
    lift = AccessCode._lift

    def lifting(code: AccessCode, *args: Any) -> None:
        code.holds = frozenset()
        lift(code, *args)

    patch.setattr(AccessCode, "_lift", lifting)


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


def _reissues_announce_the_old_code_too(patch: Patch) -> None:
    reissue = AccessCode.reissue

    def reissuing(code: AccessCode, *args: Any) -> AccessCode:
        new = reissue(code, *args)
        told = AccessCodeRevoked(record=code.record(), occurred_at=EARLY, reason="replaced")
        code.events.append(told)
        return new

    patch.setattr(AccessCode, "reissue", reissuing)


# interview's side


def _asks_change_no_entry(patch: Patch) -> None:
    answer = interview_consumers.answer_refunds

    async def answering(asks: Sequence[RefundAsk], uow: Any, *, preparation: Any) -> None:
        entries = await uow.entries.get_many([ORDER])
        known = [
            replace(ask, heard=CodeUpdate(entries[ORDER].record)) if ORDER in entries else ask
            for ask in asks
        ]
        await answer(known, uow, preparation=preparation)

    patch.setattr(interview_consumers, "answer_refunds", answering)


def _started_sessions_keep_silent(patch: Patch) -> None:
    patch.setattr(Session, "confirm_started_for_refund", lambda *_: None)


def _no_session_no_answer(patch: Patch) -> None:
    withhold = CachedCode.withhold
    patch.setattr(
        CachedCode,
        "withhold",
        lambda entry, refund_id, session_id, now: (
            withhold(entry, refund_id, session_id, now) if session_id else None
        ),
    )


def _old_asks_are_ignored(patch: Patch) -> None:
    answer = interview_consumers.answer_refunds

    async def answering(asks: Sequence[RefundAsk], uow: Any, *, preparation: Any) -> None:
        entry = (await uow.entries.get_many([ORDER])).get(ORDER)
        known = entry.record.version if entry else 0
        new = [ask for ask in asks if ask.heard.record.version >= known]
        await answer(new, uow, preparation=preparation)

    patch.setattr(interview_consumers, "answer_refunds", answering)


def _overtaken_asks_are_answered(patch: Patch) -> None:
    patch.setattr(CachedCode, "withholds", True)


def _undone_starts_count(patch: Patch) -> None:
    patch.setattr(Session, "start_reverted", False)


def _arrival_decides(patch: Patch) -> None:
    patch.setattr(CachedCode, "apply", lambda entry, heard: entry._take(heard, newer=True))


def _late_payments_prepare_nothing(patch: Patch) -> None:
    def taking(entry: CachedCode, heard: CodeUpdate, *, newer: bool) -> bool:
        if newer:
            entry.record, entry.refunded = heard.record, heard.refunded
        return newer

    patch.setattr(CachedCode, "_take", taking)


def _sessions_follow_nothing(patch: Patch) -> None:
    patch.setattr(Session, "sync_with_code", lambda *_: False)


def _suspension_ends_sessions(patch: Patch) -> None:
    follow = Session.sync_with_code

    def following(session: Session, entry: CachedCode, now: datetime) -> bool:
        changed = follow(session, entry, now)
        waits = session.is_open and not session.was_started
        if waits and entry.record.status is CodeStatus.SUSPENDED:
            session._cancel(CancelReason.ACCESS_CODE_REVOKED, now)
            return True
        return changed

    patch.setattr(Session, "sync_with_code", following)


RULES = [
    Rule("a full refund asks first", _refunds_ask_nobody, Scenario(start=1, refund=1)),
    Rule(
        "a full refund asks whatever the code's status",
        _refunds_ask_only_for_live_codes,
        Scenario(start=1, refund=1, expire=1),
    ),
    Rule(
        "a part that reaches the total is a full refund",
        _parts_never_ask,
        Scenario(start=1, part=2),
    ),
    Rule(
        "a redeemed code isn't refunded in full",
        _used_codes_are_refunded,
        Scenario(start=1, refund=1),
    ),
    Rule(
        "one refund of an order at a time",
        _orders_begin_many_refunds,
        Scenario(refund=2),
    ),
    Rule(
        "a full refund holds the code back", _refunds_hold_nothing_back, Scenario(start=1, refund=1)
    ),
    Rule(
        "what gives no right any more isn't held back",
        _refunds_hold_everything_back,
        Scenario(refund=1, expire=1),
    ),
    Rule("to ask is a new version", _asking_is_no_change, Scenario(start=1, refund=1)),
    Rule("the ask's record goes into the entry", _asks_change_no_entry, Scenario(refund=1)),
    Rule(
        "a started session answers too",
        _started_sessions_keep_silent,
        Scenario(start=1, revoke=1, refund=1),
    ),
    Rule("an order without a session answers too", _no_session_no_answer, Scenario(refund=1)),
    Rule(
        "only an answer that cites the waiting refund releases it",
        _any_answer_releases,
        Scenario(start=1, refund=2, decline=1, ask=1),
    ),
    Rule(
        "a provider's silence is no refusal",
        _silence_is_a_refusal,
        Scenario(refund=1, silence=1),
    ),
    Rule("a full refund that was paid revokes the code", _paid_back_codes_stay, Scenario(refund=1)),
    Rule(
        "a refund that came to nothing lifts its hold",
        _failed_refunds_hold_on,
        Scenario(refund=1, decline=1),
    ),
    Rule("a refund that got no answer asks again", None, Scenario(refund=1, lose=1)),
    Rule("an old ask is answered too", _old_asks_are_ignored, Scenario(refund=1, suspend=1)),
    Rule(
        "an old ask isn't answered if the entry is ACTIVE at a newer version",
        _overtaken_asks_are_answered,
        Scenario(refund=1, ask=1, decline=1),
    ),
    Rule(
        "a start that was undone is no start",
        _undone_starts_count,
        Scenario(start=1, revoke=1, refund=1),
    ),
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
    Rule("the prepared session follows the entry", _sessions_follow_nothing, Scenario(refund=1)),
    Rule(
        "a suspension ends no session",
        _suspension_ends_sessions,
        Scenario(suspend=1, reinstate=1),
    ),
    Rule(
        "only an ACTIVE code is reissued",
        _held_codes_are_reissued,
        Scenario(start=1, reissue=1, refund=1),
    ),
    Rule(
        "a reissue is announced by itself alone",
        _reissues_announce_the_old_code_too,
        Scenario(reissue=1),
    ),
]
