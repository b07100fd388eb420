"""Refund: one repayment. PENDING → SUCCEEDED | FAILED | REJECTED; UNKNOWN until reconciled.

In the refund saga a full refund first requests interview's answer, which releases or rejects it. A
partial refund and a refund of surplus money are released when they are created. Only a released
refund is submitted to the provider; FAILED means that the provider definitively rejected it.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from payment_svc.domain.access_codes import AccessCode, Cause
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order
from payment_svc.domain.refund_errors import (
    RefundFinal,
    RefundNotReleased,
    RefundNotWaiting,
)
from payment_svc.domain.refund_events import (
    RefundCompleted,
    RefundEvent,
    RefundFailed,
    RefundRejected,
    RefundRequested,
)


class RefundStatus(StrEnum):
    """The state of a refund."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"


OPEN = frozenset({RefundStatus.PENDING, RefundStatus.UNKNOWN})


@dataclass(frozen=True, slots=True)
class RefundSucceeded:
    """The provider paid the refund."""


@dataclass(frozen=True, slots=True)
class RefundRefused:
    """The provider refused the refund permanently."""

    reason: str


@dataclass(frozen=True, slots=True)
class RefundProcessing:
    """The provider accepted the refund; its outcome has to be queried again."""


@dataclass(frozen=True, slots=True)
class RefundOutcomeUnknown:
    """The provider's response was lost: the refund may have been paid or not.

    `cause` is for people.
    """

    cause: str = ""


RefundOutcome = RefundSucceeded | RefundRefused | RefundProcessing | RefundOutcomeUnknown


@dataclass(slots=True, kw_only=True)
class Refund:
    """One repayment. From `released_at` on it may be submitted to the provider.

    `asks` and `asked_at` count and date the requests for interview's answer. `idempotency_key` is
    of the request that created the refund; refunds of surplus money have none.
    """

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
    idempotency_key: IdempotencyKey | None = None
    events: list[RefundEvent] = field(default_factory=list, compare=False)

    @classmethod
    def of_order(
        cls, refund_id: str, order: Order, amount: Money | None, reason: str, now: datetime
    ) -> "Refund":
        """A refund of `amount` of an order's price, or of all that is refundable.

        Raises RefundInProgress, OrderNotRefundable, AmountNotRefundable.
        """
        refundable = order.refundable
        amount = order.begin_refund(amount)
        full = amount == refundable
        return cls(
            refund_id=refund_id,
            order_id=order.order_id,
            payment_id=order.payment_id,
            amount=amount,
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
        """A refund of captured money that does not pay its order."""
        return cls(
            refund_id=refund_id,
            order_id=order_id,
            payment_id=payment_id,
            amount=captured,
            full=False,
            surplus=True,
            reason="surplus money",
            created_at=now,
            updated_at=now,
            released_at=now,
        )

    @property
    def final(self) -> bool:
        """Whether the outcome is final."""
        return self.status not in OPEN

    @property
    def waiting(self) -> bool:
        """Whether it waits for interview's answer."""
        return self.full and self.status is RefundStatus.PENDING and self.released_at is None

    def is_rejected_by(self, refund_id: str) -> bool:
        """Whether a start that counts and answers `refund_id` ("" for none) rejects this refund."""
        return self.waiting and refund_id in {"", self.refund_id}

    def is_overdue(self, now: datetime, after: timedelta) -> bool:
        """Whether it has had no final outcome for `after` or longer."""
        return not self.final and now - self.created_at >= after

    def is_unanswered(self, now: datetime, after: timedelta) -> bool:
        """Whether interview's answer was requested `after` ago or earlier, and has not arrived."""
        return self.waiting and self.asked_at is not None and now - self.asked_at >= after

    def hold(self, code: AccessCode, now: datetime) -> None:
        """Suspends the order's code and requests interview's answer; raises AccessCodeUsed."""
        code.hold_for_refund(self._cause, now)
        self.request_answer(code, now)

    def request_answer(self, code: AccessCode, now: datetime) -> None:
        """Requests, possibly again, whether the interview has started; raises RefundNotWaiting."""
        if not self.waiting:
            raise RefundNotWaiting(self.refund_id, self._state, "requested again")
        self.asks, self.asked_at = self.asks + 1, now
        self.events.append(
            RefundRequested(
                record=code.snapshot(),
                refund_id=self.refund_id,
                ask=self.asks,
                requested_at=self.created_at,
                occurred_at=now,
            )
        )

    def release(self, now: datetime) -> None:
        """Interview withholds the session: the refund may be paid; raises RefundNotWaiting."""
        if not self.waiting:
            raise RefundNotWaiting(self.refund_id, self._state, "released")
        self.released_at = self.updated_at = now

    def reject(
        self, order: Order, code: AccessCode, session_id: str, cause_event_id: str, now: datetime
    ) -> None:
        """The interview has started: no refund. Raises RefundNotWaiting."""
        if not self.waiting:
            raise RefundNotWaiting(self.refund_id, self._state, "rejected")
        self.status, self.failure_reason = RefundStatus.REJECTED, "INTERVIEW_STARTED"
        self.updated_at = now
        code.lift_refund_hold(self._cause, now)
        order.end_refund()
        self.events.append(
            RefundRejected(
                record=code.snapshot(),
                refund_id=self.refund_id,
                session_id=session_id,
                cause_event_id=cause_event_id,
                occurred_at=now,
            )
        )

    def settle(
        self, outcome: RefundOutcome, order: Order, code: AccessCode | None, now: datetime
    ) -> None:
        """Applies the provider's outcome; `code` is the order's current access code.

        After a final outcome, the same one or one that is not final changes nothing. Raises
        RefundNotReleased, and RefundFinal if the outcome contradicts a final one.
        """
        status, reason = _status_of(outcome)
        if self.final:
            if status not in OPEN and status is not self.status:
                raise RefundFinal(self.refund_id, self._state)
            return
        if self.released_at is None:
            raise RefundNotReleased(self.refund_id, self._state)
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
                record=code.snapshot() if code else None,
                refund_id=self.refund_id,
                payment_id=self.payment_id,
                amount=self.amount,
                full=self.full,
                surplus=self.surplus,
                customer_id=order.customer_id,
                recipient=order.recipient,
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
                record=code.snapshot() if code else None,
                refund_id=self.refund_id,
                failure_reason=self.failure_reason,
                occurred_at=now,
            )
        )

    @property
    def _cause(self) -> Cause:
        return Cause("payment", f"refund {self.refund_id}")

    @property
    def _state(self) -> str:
        """The state for error texts: `PENDING (released)`."""
        if self.final:
            return self.status
        return f"{self.status} ({'released' if self.released_at else 'not released'})"


def _status_of(outcome: RefundOutcome) -> tuple[RefundStatus, str]:
    match outcome:
        case RefundSucceeded():
            return RefundStatus.SUCCEEDED, ""
        case RefundRefused(reason):
            return RefundStatus.FAILED, reason
        case RefundProcessing():
            return RefundStatus.PENDING, ""
        case RefundOutcomeUnknown():
            return RefundStatus.UNKNOWN, ""
