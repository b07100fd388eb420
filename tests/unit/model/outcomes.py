"""Forbidden transitions and states, and the documented outcomes of an order.

The allowed transitions are those of the state diagrams.
"""

from collections.abc import Callable, Mapping

from interview_svc.domain.cached_code import CodeStatus
from interview_svc.domain.session_state import SessionStatus
from interview_svc.domain.sessions import Session
from payment_svc.domain.access_code_status import AccessCodeStatus, Hold
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.refunds import RefundStatus
from tests.unit.model.world import Protocol, World

_Order, _Code, _Session, _Refund = OrderStatus, AccessCodeStatus, SessionStatus, RefundStatus
_SETTLED = {_Order.PAID, _Order.PARTIALLY_REFUNDED}

# Each state with the states that may follow it.
_TRANSITIONS: Mapping[str, set[str]] = {
    f"order {_Order.PAID}": {_Order.REFUND_PENDING},
    f"order {_Order.PARTIALLY_REFUNDED}": {_Order.REFUND_PENDING},
    f"order {_Order.REFUND_PENDING}": {_Order.PAID, _Order.PARTIALLY_REFUNDED, _Order.REFUNDED},
    f"code {_Code.ACTIVE}": {_Code.REDEEMED, _Code.EXPIRED, _Code.SUSPENDED, _Code.REVOKED},
    f"code {_Code.SUSPENDED}": {_Code.ACTIVE, _Code.REDEEMED, _Code.EXPIRED, _Code.REVOKED},
    f"code {_Code.EXPIRED}": {_Code.REDEEMED},
    f"refund {_Refund.PENDING}": {
        _Refund.SUCCEEDED,
        _Refund.FAILED,
        _Refund.REJECTED,
        _Refund.UNKNOWN,
    },
    f"refund {_Refund.UNKNOWN}": {_Refund.SUCCEEDED, _Refund.FAILED},
    f"session {_Session.PREPARED}": {_Session.IN_PROGRESS, _Session.EXPIRED, _Session.CANCELLED},
    f"session {_Session.IN_PROGRESS}": {_Session.COMPLETED, _Session.EXPIRED, _Session.CANCELLED},
}

# The final states of order, code and session.
_DOCUMENTED = {
    (_Order.PAID, _Code.ACTIVE, _Session.PREPARED): "not started yet",
    (_Order.PAID, _Code.SUSPENDED, _Session.PREPARED): "suspended",
    (_Order.PAID, _Code.REDEEMED, _Session.IN_PROGRESS): "in progress",
    (_Order.PAID, _Code.REDEEMED, _Session.COMPLETED): "completed",
    (_Order.PAID, _Code.REDEEMED, _Session.EXPIRED): "expired in progress",
    (_Order.PAID, _Code.REDEEMED, _Session.CANCELLED): "cancelled in progress",
    (_Order.PAID, _Code.EXPIRED, _Session.EXPIRED): "not used",
    (_Order.PAID, _Code.REVOKED, _Session.CANCELLED): "revoked",
    (_Order.PAID, _Code.REVOKED, _Session.EXPIRED): "revoked after its expiry",
    (_Order.REFUNDED, _Code.REVOKED, _Session.CANCELLED): "refunded",
    (_Order.REFUNDED, _Code.REVOKED, _Session.EXPIRED): "refunded after its expiry",
    (_Order.REFUNDED, _Code.EXPIRED, _Session.EXPIRED): "not used, and refunded",
    (_Order.REFUNDED, _Code.EXPIRED, _Session.CANCELLED): "not used, and refunded",
}


class OutcomeChecker:
    """Checks the worlds of one protocol.

    With `allow_waiting`, a refund whose request or answer was lost may stay waiting.
    """

    def __init__(self, protocol: Protocol, *, allow_waiting: bool = False) -> None:
        self._protocol, self._allow_waiting = protocol, allow_waiting
        # The results by a service's states before and after.
        self._results: dict[tuple[str, int, int], str | None] = {}

    def illegal_transition(self, before: World, after: World) -> str | None:
        """Describes a forbidden transition between two worlds."""
        return (
            self._not_in_diagram("payment", before, after, self._at_payment)
            or self._not_in_diagram("interview", before, after, self._at_interview)
            or self._untrue_answer(before, after)
            or self._start_with_replaced_code(before, after)
        )

    def _not_in_diagram(
        self,
        service: str,
        before: World,
        after: World,
        states: Callable[[World], dict[str, tuple[str, str]]],
    ) -> str | None:
        """A transition of a service that is not in its diagrams."""
        key = service, getattr(before, service), getattr(after, service)
        if key not in self._results:
            old, new = states(before), states(after)
            self._results[key] = next(
                (
                    f"a {kind} changed from {was} to {new[name][1]}"
                    for name, (kind, was) in old.items()
                    if new[name][1] not in _TRANSITIONS.get(f"{kind} {was}", set()) | {was}
                ),
                None,
            )
        return self._results[key]

    def _at_payment(self, world: World) -> dict[str, tuple[str, str]]:
        protocol = self._protocol
        codes = protocol.codes(world).values()
        return {
            "order": ("order", protocol.order(world).status),
            **{code.id: ("code", code.status) for code in codes},
            **{refund.refund_id: ("refund", refund.status) for refund in protocol.refunds(world)},
        }

    def _at_interview(self, world: World) -> dict[str, tuple[str, str]]:
        session = self._protocol.session(world)
        return {session.session_id: ("session", session.status)} if session else {}

    def _untrue_answer(self, before: World, after: World) -> str | None:
        """An answer to a refund that is not true when it is published."""
        published = set(after.events_in_transit) - set(before.events_in_transit)
        cached, session = self._protocol.cached_code(after), self._protocol.session(after)
        if not session or not cached:
            return None
        startable = cached.record.status is CodeStatus.ACTIVE and session.is_open
        for event_name in published:
            if startable and event_name.startswith("SessionWithheld") and not session.was_started:
                return "interview withheld a session that could be started"
            if _is_reverted(session) and self._protocol.answers_refund(event_name):
                return "a refund was answered with a reverted start"
        return None

    def _start_with_replaced_code(self, before: World, after: World) -> str | None:
        """A start with a code although interview knew its replacement."""
        if before.interview == after.interview:
            return None
        old, new = self._protocol.session(before), self._protocol.session(after)
        cached = self._protocol.cached_code(before)
        if old and new and cached and not old.was_started and new.was_started:
            replaced = new.access_code != cached.record.code
            return "a replaced code started the interview" if replaced else None
        return None

    def violation(self, world: World) -> str | None:
        """Describes a forbidden state of the world."""
        protocol = self._protocol
        order, code, session = protocol.order(world), protocol.code(world), protocol.session(world)
        refunds = protocol.refunds(world)
        refunded = sum(
            refund.amount.amount_minor
            for refund in refunds
            if refund.refund_id in world.refunded_ids
        )
        recorded = sum(
            refund.amount.amount_minor
            for refund in refunds
            if refund.status is RefundStatus.SUCCEEDED
        )
        in_full = refunded >= order.price.amount_minor
        reverted = session is not None and _is_reverted(session)
        started = session is not None and session.was_started and not reverted
        redeemed = code.status is AccessCodeStatus.REDEEMED
        rejected = any(refund.status is RefundStatus.REJECTED for refund in refunds)
        open_refunds = sum(not refund.final for refund in refunds)
        differs = refunded > order.price.amount_minor or recorded != order.refunded_minor
        violations = {
            "refunded in full although the interview has started": in_full and started,
            "both redeemed and refunded": in_full and redeemed,
            "neither interview nor money: a reverted start rejected a refund": rejected
            and reverted,
            "an interview started after its code's expiry": self._unexpected_late_start(
                code, session
            ),
            "the refunded amounts do not match": differs,
            "two open refunds of one order": open_refunds > 1,
            f"{world.dead[:1]} cannot be handled": bool(world.dead),
        }
        return next((name for name, violated in violations.items() if violated), None)

    def _unexpected_late_start(self, code: AccessCode, session: Session | None) -> bool:
        """A start after the code's expiry that the world's clocks and payment do not explain."""
        if session is None or session.started_at is None or session.started_at < code.expire_at:
            return False
        accepted = code.status is AccessCodeStatus.REDEEMED
        return accepted or not self._protocol.scenario.late_start

    def outcome(self, world: World) -> str | None:
        """The documented outcome of an end, if both services agree on one."""
        protocol = self._protocol
        order, code, session = protocol.order(world), protocol.code(world), protocol.session(world)
        cached = protocol.cached_code(world)
        held = Hold.REFUND in code.holds
        if (
            held
            and self._allow_waiting
            and any(refund.waiting for refund in protocol.refunds(world))
        ):
            return "waits for a repeated request"
        if session is None or cached is None or held or not self._money_agrees(world):
            return None
        agreed = (cached.record.status, cached.record.version) == (code.status, code.version)
        prepared = session.status is SessionStatus.PREPARED
        if not agreed or (prepared and session.access_code_id != code.id):
            return None
        late = session.started_at is not None and session.started_at >= code.expire_at
        invalid = code.status is AccessCodeStatus.REVOKED or late
        paid = OrderStatus.PAID if order.status in _SETTLED else order.status
        if invalid and session.status is SessionStatus.COMPLETED:
            # Detected too late: it is reported and not changed.
            reported = session.used_without_right and paid is OrderStatus.PAID
            return "completed without a valid code" if reported else None
        if late and paid is OrderStatus.PAID and _is_reverted(session):
            return "started after its expiry"
        return _DOCUMENTED.get((paid, code.status, session.status))

    def describe(self, world: World) -> str:
        """The states of order, code, refunds and session, for the failure message."""
        protocol = self._protocol
        session, cached = protocol.session(world), protocol.cached_code(world)
        states = {
            "order": protocol.order(world).status,
            "code": protocol.code(world).status,
            "cached code": cached.record.status if cached else "none",
            "session": session.status if session else "none",
            "refunds": ", ".join(refund.status for refund in protocol.refunds(world)) or "none",
            "refunds paid": len(world.refunded_ids),
        }
        return "; ".join(f"{name} {state}" for name, state in states.items())

    def _money_agrees(self, world: World) -> bool:
        """Whether payment has recorded exactly the refunds that the provider has paid."""
        refunds = self._protocol.refunds(world)
        recorded = {r.refund_id for r in refunds if r.status is RefundStatus.SUCCEEDED}
        return recorded == world.refunded_ids


def _is_reverted(session: Session) -> bool:
    """Whether payment rejected its start and the interview was not completed."""
    return session.use_rejected and session.status is not SessionStatus.COMPLETED
