"""Refund: one repayment. PENDING → SUCCEEDED | FAILED | REJECTED; UNKNOWN until reconciled.

A full refund asks interview first and is released by its answer; a partial one, and one of money
that never backed the order, are released from the beginning. Only a released refund goes to the
provider, and FAILED is only for a definite refusal.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from payment_svc.domain.access_codes import AccessCode, Cause
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order
from payment_svc.domain.refund_events import (
    RefundCompleted,
    RefundEvent,
    RefundFailed,
    RefundRejected,
    RefundRequested,
)


class RefundStatus(StrEnum):
    """Where a refund stands."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"


OPEN = frozenset({RefundStatus.PENDING, RefundStatus.UNKNOWN})


class RefundNotFound(LookupError):
    """There is no such refund."""


class RefundNotWaiting(Exception):
    """The refund doesn't wait for interview's word."""

    def __init__(self, refund: "Refund", step: str) -> None:
        super().__init__(f"refund {_standing(refund)}, which can't be {step}")
        self.subject = refund.refund_id


class RefundNotReleased(Exception):
    """The refund may not go to the provider yet, so the provider can't have an outcome."""

    def __init__(self, refund: "Refund") -> None:
        super().__init__(f"refund {_standing(refund)}, which can't be settled yet")
        self.subject = refund.refund_id


class RefundFinal(Exception):
    """The refund has its outcome; it can't get another."""

    def __init__(self, refund: "Refund") -> None:
        super().__init__(f"refund {_standing(refund)}, which can't be settled again")
        self.subject = refund.refund_id


@dataclass(frozen=True, slots=True)
class PaidBack:
    """The money went back."""


@dataclass(frozen=True, slots=True)
class RefundRefused:
    """The provider will never pay it back."""

    reason: str


@dataclass(frozen=True, slots=True)
class RefundProcessing:
    """The provider has it; ask again."""


@dataclass(frozen=True, slots=True)
class RefundOutcomeUnknown:
    """The provider's answer didn't arrive: the money may have gone back or not."""


RefundOutcome = PaidBack | RefundRefused | RefundProcessing | RefundOutcomeUnknown


@dataclass(slots=True, kw_only=True)
class Refund:
    """One repayment. At `released_at` the way to the provider was free; `call` asked for it."""

    refund_id: str
    order_id: str
    payment_id: str
    amount: Money
    full: bool
    surplus: bool
    reason: str
    created_at: datetime
    updated_at: datetime
    status: RefundStatus = RefundStatus.PENDING
    failure_reason: str = ""
    asks: int = 0
    asked_at: datetime | None = None
    released_at: datetime | None = None
    call: IdempotencyKey | None = None
    events: list[RefundEvent] = field(default_factory=list, compare=False)

    @classmethod
    def of_order(
        cls, refund_id: str, order: Order, amount: Money | None, reason: str, now: datetime
    ) -> "Refund":
        """Begins to pay back `amount` of an order's price, or all that is left.

        Raises RefundInProgress, OrderNotRefundable, AmountNotLeft.
        """
        left = order.left
        paid_back = order.begin_refund(amount)
        full = paid_back == left
        return cls(
            refund_id=refund_id,
            order_id=order.order_id,
            payment_id=order.payment_id,
            amount=paid_back,
            full=full,
            surplus=False,
            reason=reason,
            created_at=now,
            updated_at=now,
            released_at=None if full else now,
        )

    @classmethod
    def of_surplus(
        cls, refund_id: str, order_id: str, payment_id: str, captured: Money, now: datetime
    ) -> "Refund":
        """Pays back captured money that doesn't back its order."""
        return cls(
            refund_id=refund_id,
            order_id=order_id,
            payment_id=payment_id,
            amount=captured,
            full=False,
            surplus=True,
            reason="captured money backs no order",
            created_at=now,
            updated_at=now,
            released_at=now,
        )

    @property
    def final(self) -> bool:
        """Whether the outcome is known for good."""
        return self.status not in OPEN

    @property
    def waiting(self) -> bool:
        """Whether it depends on interview's word."""
        return self.full and self.status is RefundStatus.PENDING and self.released_at is None

    def is_rejected_by(self, cited: str) -> bool:
        """Whether a start that answers the refund `cited`, or none (""), rejects this one."""
        return self.waiting and cited in {"", self.refund_id}

    def is_overdue(self, now: datetime, after: timedelta) -> bool:
        """Whether it has no outcome for longer than `after`."""
        return not self.final and now - self.created_at >= after

    def is_unanswered(self, now: datetime, after: timedelta) -> bool:
        """Whether interview was asked so long ago that it is to be asked again."""
        return self.waiting and self.asked_at is not None and now - self.asked_at >= after

    def hold(self, code: AccessCode, now: datetime) -> None:
        """Holds the order's code back and asks interview; raises AccessCodeUsed."""
        code.hold_for_refund(self._cause, now)
        self.ask(code, now)

    def ask(self, code: AccessCode, now: datetime) -> None:
        """Asks interview, once more, whether the interview has started; raises RefundNotWaiting."""
        if not self.waiting:
            raise RefundNotWaiting(self, "asked about")
        self.asks, self.asked_at = self.asks + 1, now
        self.events.append(
            RefundRequested(
                record=code.record(),
                refund_id=self.refund_id,
                ask=self.asks,
                requested_at=self.created_at,
                occurred_at=now,
            )
        )

    def release(self, now: datetime) -> None:
        """Interview withholds the session: the way is free; raises RefundNotWaiting."""
        if not self.waiting:
            raise RefundNotWaiting(self, "released")
        self.released_at = self.updated_at = now

    def reject(
        self, order: Order, code: AccessCode, session_id: str, cause_event_id: str, now: datetime
    ) -> None:
        """The interview has started: no refund. Raises RefundNotWaiting."""
        if not self.waiting:
            raise RefundNotWaiting(self, "rejected")
        self.status, self.failure_reason = RefundStatus.REJECTED, "INTERVIEW_STARTED"
        self.updated_at = now
        code.lift_refund_hold(self._cause, now)
        order.end_refund()
        self.events.append(
            RefundRejected(
                record=code.record(),
                refund_id=self.refund_id,
                session_id=session_id,
                cause_event_id=cause_event_id,
                occurred_at=now,
            )
        )

    def settle(
        self, outcome: RefundOutcome, order: Order, code: AccessCode | None, now: datetime
    ) -> None:
        """Takes the provider's word; `code` is the order's current one.

        The same outcome again, or none after one, changes nothing. Raises RefundNotReleased, and
        RefundFinal if it contradicts a final one.
        """
        status, reason = _status(outcome)
        if self.final:
            if status not in OPEN and status is not self.status:
                raise RefundFinal(self)
            return
        if self.released_at is None:
            raise RefundNotReleased(self)
        if status is not self.status:
            self.status, self.failure_reason, self.updated_at = status, reason, now
        if status is RefundStatus.SUCCEEDED:
            self._complete(order, code, now)
        elif status is RefundStatus.FAILED:
            self._fail(order, code, now)

    def _complete(self, order: Order, code: AccessCode | None, now: datetime) -> None:
        if not self.surplus:
            order.end_refund(self.amount.amount_minor)
        if self.full and code:
            code.revoke_for_refund(self._cause, now)
        self.events.append(
            RefundCompleted(
                order_id=self.order_id,
                record=code.record() if code else None,
                refund_id=self.refund_id,
                payment_id=self.payment_id,
                amount=self.amount,
                full=self.full,
                surplus=self.surplus,
                holder=order.holder,
                occurred_at=now,
            )
        )

    def _fail(self, order: Order, code: AccessCode | None, now: datetime) -> None:
        if not self.surplus:
            order.end_refund()
        if self.full and code:
            code.lift_refund_hold(self._cause, now)
        self.events.append(
            RefundFailed(
                order_id=self.order_id,
                record=code.record() if code else None,
                refund_id=self.refund_id,
                failure_reason=self.failure_reason,
                occurred_at=now,
            )
        )

    @property
    def _cause(self) -> Cause:
        return Cause("payment", f"refund {self.refund_id}")


def _standing(refund: Refund) -> str:
    """Which refund, and where it stands: `ref_… is PENDING (released)`."""
    released = " (released)" if refund.released_at and not refund.final else ""
    return f"{refund.refund_id} is {refund.status}{released}"


def _status(outcome: RefundOutcome) -> tuple[RefundStatus, str]:
    match outcome:
        case PaidBack():
            return RefundStatus.SUCCEEDED, ""
        case RefundRefused(reason):
            return RefundStatus.FAILED, reason
        case RefundProcessing():
            return RefundStatus.PENDING, ""
        case RefundOutcomeUnknown():
            return RefundStatus.UNKNOWN, ""
