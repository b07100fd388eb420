"""What must never be or happen, and where an order may end: the documented outcomes.

The steps that each state may take are those of the diagrams, and nothing else.
"""

from collections.abc import Callable, Mapping

from interview_svc.domain.cached_code import CodeStatus
from interview_svc.domain.events import CancelReason
from interview_svc.domain.session_states import SessionStatus
from interview_svc.domain.sessions import Session
from payment_svc.domain.access_codes import AccessCodeStatus, Hold
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.refunds import RefundStatus
from tests.unit.model.world import Protocol, World

_P, _R, _C, _B = OrderStatus, AccessCodeStatus, SessionStatus, RefundStatus
_SETTLED = {_P.PAID, _P.PARTIALLY_REFUNDED}

# What each state may become.
_STEPS: Mapping[str, set[str]] = {
    f"order {_P.PAID}": {_P.REFUND_PENDING},
    f"order {_P.PARTIALLY_REFUNDED}": {_P.REFUND_PENDING},
    f"order {_P.REFUND_PENDING}": {_P.PAID, _P.PARTIALLY_REFUNDED, _P.REFUNDED},
    f"code {_R.ACTIVE}": {_R.REDEEMED, _R.EXPIRED, _R.SUSPENDED, _R.REVOKED},
    f"code {_R.SUSPENDED}": {_R.ACTIVE, _R.REDEEMED, _R.EXPIRED, _R.REVOKED},
    f"code {_R.EXPIRED}": {_R.REDEEMED},
    f"refund {_B.PENDING}": {_B.SUCCEEDED, _B.FAILED, _B.REJECTED, _B.UNKNOWN},
    f"refund {_B.UNKNOWN}": {_B.SUCCEEDED, _B.FAILED},
    f"session {_C.PREPARED}": {_C.IN_PROGRESS, _C.EXPIRED, _C.CANCELLED},
    f"session {_C.IN_PROGRESS}": {_C.COMPLETED, _C.EXPIRED, _C.CANCELLED},
}

# Where order, code and session stand once nothing more can happen.
_DOCUMENTED = {
    (_P.PAID, _R.ACTIVE, _C.PREPARED): "waits for its customer",
    (_P.PAID, _R.SUSPENDED, _C.PREPARED): "held back",
    (_P.PAID, _R.REDEEMED, _C.IN_PROGRESS): "under way",
    (_P.PAID, _R.REDEEMED, _C.COMPLETED): "done",
    (_P.PAID, _R.REDEEMED, _C.EXPIRED): "ran out of time while under way",
    (_P.PAID, _R.EXPIRED, _C.EXPIRED): "never used",
    (_P.PAID, _R.REVOKED, _C.CANCELLED): "withdrawn",
    (_P.PAID, _R.REVOKED, _C.EXPIRED): "withdrawn after its time",
    (_P.REFUNDED, _R.REVOKED, _C.CANCELLED): "refunded",
    (_P.REFUNDED, _R.REVOKED, _C.EXPIRED): "refunded after its time",
    (_P.REFUNDED, _R.EXPIRED, _C.EXPIRED): "never used, and refunded",
    (_P.REFUNDED, _R.EXPIRED, _C.CANCELLED): "never used, and refunded",
}


class Judge:
    """Judges the worlds of one protocol.

    `patient`: a refund whose question or answer was lost may end waiting, to be asked about again.
    """

    def __init__(self, protocol: Protocol, *, patient: bool = False) -> None:
        self._protocol, self._patient = protocol, patient
        # A service's states before and after, judged once.
        self._judged: dict[tuple[str, int, int], str | None] = {}

    def misstep(self, before: World, after: World) -> str | None:
        """What must never happen, between one world and the next."""
        return (
            self._not_drawn("payment", before, after, self._at_payment)
            or self._not_drawn("interview", before, after, self._at_interview)
            or self._lie(before, after)
            or self._false_start(before, after)
        )

    def _not_drawn(
        self,
        service: str,
        before: World,
        after: World,
        states: Callable[[World], dict[str, tuple[str, str]]],
    ) -> str | None:
        """A step of a service's states that no diagram has."""
        key = service, getattr(before, service), getattr(after, service)
        if key not in self._judged:
            then, now = states(before), states(after)
            self._judged[key] = next(
                (
                    f"a {kind} went from {was} to {now[name][1]}"
                    for name, (kind, was) in then.items()
                    if now[name][1] not in _STEPS.get(f"{kind} {was}", set()) | {was}
                ),
                None,
            )
        return self._judged[key]

    def _at_payment(self, world: World) -> dict[str, tuple[str, str]]:
        protocol = self._protocol
        codes = protocol.codes(world).values()
        return {
            "order": ("order", protocol.order(world).status),
            **{code.id: ("code", code.status) for code in codes},
            **{one.refund_id: ("refund", one.status) for one in protocol.refunds(world)},
        }

    def _at_interview(self, world: World) -> dict[str, tuple[str, str]]:
        session = self._protocol.session(world)
        return {session.session_id: ("session", session.status)} if session else {}

    def _lie(self, before: World, after: World) -> str | None:
        """An answer to a refund that isn't true when it is given."""
        said = set(after.letters) - set(before.letters)
        entry, session = self._protocol.entry(after), self._protocol.session(after)
        if not session or not entry:
            return None
        startable = entry.record.status is CodeStatus.ACTIVE and session.is_open
        for letter in said:
            if startable and letter.startswith("SessionWithheld") and not session.was_started:
                return "interview said that it withholds a session that could be started"
            if _undone(session) and self._protocol.answers_refund(letter):
                return "a refund was told of a start that was undone"
        return None

    def _false_start(self, before: World, after: World) -> str | None:
        """A start with a code of which interview knew that another had replaced it."""
        if before.interview == after.interview:
            return None
        then, now = self._protocol.session(before), self._protocol.session(after)
        entry = self._protocol.entry(before)
        if then and now and entry and not then.was_started and now.was_started:
            replaced = now.access_code != entry.record.code
            return "a replaced code started the interview" if replaced else None
        return None

    def wrong(self, world: World) -> str | None:
        """What must never be, however briefly."""
        protocol = self._protocol
        order, code, session = protocol.order(world), protocol.code(world), protocol.session(world)
        refunds = protocol.refunds(world)
        paid_back = sum(
            refund.amount.amount_minor for refund in refunds if refund.refund_id in world.paid_back
        )
        recorded = sum(
            refund.amount.amount_minor
            for refund in refunds
            if refund.status is RefundStatus.SUCCEEDED
        )
        in_full = paid_back >= order.price.amount_minor
        if in_full and session and session.started_at and not _undone(session):
            return "paid back in full although the interview has started"
        if in_full and code.status is AccessCodeStatus.REDEEMED:
            return "both redeemed and refunded"
        if paid_back > order.price.amount_minor or recorded != order.refunded_minor:
            return "money was lost or invented"
        if sum(not refund.final for refund in refunds) > 1:
            return "two refunds of one order at once"
        if world.dead:
            return f"{world.dead[0]} can't be handled"
        return None

    def outcome(self, world: World) -> str | None:
        """Which documented end this is, if everybody agrees on one."""
        protocol = self._protocol
        order, code, session = protocol.order(world), protocol.code(world), protocol.session(world)
        entry = protocol.entry(world)
        held = Hold.REFUND in code.holds
        if held and self._patient and any(refund.waiting for refund in protocol.refunds(world)):
            return "waits to ask again"
        if session is None or entry is None or held or not self._money_agrees(world):
            return None
        agreed = (entry.record.status, entry.record.version) == (code.status, code.version)
        prepared = session.status is SessionStatus.PREPARED
        if not agreed or (prepared and session.access_code_id != code.id):
            return None
        if code.status is AccessCodeStatus.REVOKED and session.status is SessionStatus.COMPLETED:
            # Found out too late: reported, and left as it is.
            return "used without right" if session.used_without_right else None
        paid = OrderStatus.PAID if order.status in _SETTLED else order.status
        return _DOCUMENTED.get((paid, code.status, session.status))

    def describe(self, world: World) -> str:
        """Where order, code, refunds and session stand, for a person to read."""
        protocol = self._protocol
        session, entry = protocol.session(world), protocol.entry(world)
        standings = {
            "order": protocol.order(world).status,
            "code": protocol.code(world).status,
            "copy of it": entry.record.status if entry else "none",
            "session": session.status if session else "none",
            "refunds": ", ".join(refund.status for refund in protocol.refunds(world)) or "none",
            "paid back": len(world.paid_back),
        }
        return "; ".join(f"{what} {standing}" for what, standing in standings.items())

    def _money_agrees(self, world: World) -> bool:
        """Whether payment knows of exactly the money that the provider has paid back."""
        refunds = self._protocol.refunds(world)
        known = {one.refund_id for one in refunds if one.status is RefundStatus.SUCCEEDED}
        return known == world.paid_back


def _undone(session: Session) -> bool:
    """Whether payment found that its start was without right, in time to stop it."""
    return session.cancel_reason is CancelReason.USE_REJECTED
