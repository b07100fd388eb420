"""What must never be, and where an order may end: the documented outcomes of the protocol."""

from interview_svc.domain.session_states import SessionStatus
from payment_svc.domain.access_codes import AccessCodeStatus
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.refunds import RefundStatus
from tests.unit.protocol_world import Protocol, World

_P, _R, _C = OrderStatus, AccessCodeStatus, SessionStatus

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
    """Judges the worlds of one protocol."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

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
        if paid_back and session and session.started_at and not session.was_undone:
            return "paid back although the interview has started"
        if paid_back and code.status is AccessCodeStatus.REDEEMED:
            return "both redeemed and refunded"
        if paid_back > order.price.amount_minor or recorded != order.refunded_minor:
            return "money was lost or invented"
        if sum(not refund.final for refund in refunds) > 1:
            return "two refunds of one order at once"
        return None

    def outcome(self, world: World) -> str | None:
        """Which documented end this is, if everybody agrees on one."""
        protocol = self._protocol
        order, code, session = protocol.order(world), protocol.code(world), protocol.session(world)
        entry = protocol.entry(world)
        if session is None or entry is None or not self._money_agrees(world):
            return None
        agreed = (entry.record.status, entry.record.version) == (code.status, code.version)
        prepared = session.status is SessionStatus.PREPARED
        if not agreed or (prepared and session.access_code_id != code.id):
            return None
        if code.status is AccessCodeStatus.REVOKED and session.status is SessionStatus.COMPLETED:
            # Found out too late: reported, and left as it is.
            return "used without right" if session.used_without_right else None
        return _DOCUMENTED.get((order.status, code.status, session.status))

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
