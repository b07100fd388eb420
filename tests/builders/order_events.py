"""Builds the events that payment and interview publish about one order."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from ulid import ULID

from interview.v1 import events_pb2 as interview_events
from interview.v1 import session_pb2
from payment.v1 import access_code_pb2, money_pb2
from payment.v1 import events_pb2 as payment_events
from runtime.protobuf import to_timestamp
from shared_model.access_code import generate

Event = TypeVar("Event", bound=Message)


def _now() -> Timestamp:
    return to_timestamp(datetime.now(UTC))


class OrderEvents:
    """Events about a fictitious order: payment has no such order.

    Each event about the access code carries its record with the next version, unless a version is
    given.
    """

    def __init__(
        self, email_tag: str = "", language_code: str = "en", valid_days: float = 30.0
    ) -> None:
        """`email_tag` is part of the address, such as "+reject" to have mails refused."""
        self.order_id = f"ord_{ULID()}"
        self.customer_id = secrets.token_hex(6)
        self.email = f"{self.customer_id}{email_tag}@example.com"
        self.language_code = language_code
        self.product_id = "backend-60"
        self.access_code_id = f"acc_{ULID()}"
        self.access_code = generate(secrets.randbelow)
        self.expire_at = datetime.now(UTC) + timedelta(days=valid_days)
        self.version = 0

    @property
    def recipient(self) -> access_code_pb2.Recipient:
        return access_code_pb2.Recipient(
            email=self.email, display_name="Li Hua", language_code=self.language_code
        )

    @property
    def _addressee(self) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "recipient": self.recipient,
            "customer_id": self.customer_id,
        }

    def record(self, status: str, version: int | None = None) -> access_code_pb2.AccessCode:
        """The code's record with a status and a version, by default the next one."""
        if version is None:
            version = self.version = self.version + 1
        return access_code_pb2.AccessCode(
            id=self.access_code_id,
            code=self.access_code,
            status=access_code_pb2.AccessCodeStatus.Value(f"ACCESS_CODE_STATUS_{status}"),
            expire_at=to_timestamp(self.expire_at),
            order_id=self.order_id,
            product_id=self.product_id,
            version=version,
        )

    # Events of payment

    def payment_completed(self) -> payment_events.PaymentCompleted:
        issued = self.record("ACTIVE")
        return payment_events.PaymentCompleted(
            access_code=issued.code,
            access_code_id=issued.id,
            expire_at=issued.expire_at,
            version=issued.version,
            product_id=issued.product_id,
            payment_id=f"pay_{ULID()}",
            completed_at=_now(),
            **self._addressee,
        )

    def access_code_event(
        self, kind: type[Event], status: str, version: int | None = None
    ) -> Event:
        """AccessCodeSuspended, …Reinstated, …Revoked, …Redeemed or …Expired."""
        fields = {"order_id": self.order_id, "record": self.record(status, version)}
        if "recipient" in kind.DESCRIPTOR.fields_by_name:
            fields |= self._addressee
        return kind(**fields)

    def access_code_reissued(self) -> payment_events.AccessCodeReissued:
        """A new access code takes the place of the order's current one."""
        replaced = self.access_code_id
        self.access_code_id = f"acc_{ULID()}"
        self.access_code = generate(secrets.randbelow)
        return payment_events.AccessCodeReissued(
            record=self.record("ACTIVE"), replaced_access_code_id=replaced, **self._addressee
        )

    def access_code_use_rejected(
        self, session_id: str, version: int | None = None
    ) -> payment_events.AccessCodeUseRejected:
        """The session's start used a code that is REVOKED."""
        return payment_events.AccessCodeUseRejected(
            order_id=self.order_id,
            record=self.record("REVOKED", version),
            session_id=session_id,
            judged_as=access_code_pb2.ACCESS_CODE_STATUS_REVOKED,
        )

    def refund_requested(
        self, version: int | None = None, status: str = "SUSPENDED", ask: int = 1
    ) -> payment_events.RefundRequested:
        return payment_events.RefundRequested(
            order_id=self.order_id,
            record=self.record(status, version),
            refund_id=f"ref_{ULID()}",
            ask=ask,
            requested_at=_now(),
        )

    def refund_failed(self, version: int | None = None) -> payment_events.RefundFailed:
        return payment_events.RefundFailed(
            order_id=self.order_id,
            record=self.record("ACTIVE", version),
            refund_id=f"ref_{ULID()}",
            failure_reason="DECLINED",
            failed_at=_now(),
        )

    def refund_completed(
        self, status: str = "REVOKED", *, full: bool = True
    ) -> payment_events.RefundCompleted:
        return payment_events.RefundCompleted(
            record=self.record(status),
            refund_id=f"ref_{ULID()}",
            payment_id=f"pay_{ULID()}",
            amount=money_pb2.Money(amount_minor=19900, currency_code="CNY"),
            full=full,
            completed_at=_now(),
            **self._addressee,
        )

    # Events of interview

    def session_cancelled(self, reason: str) -> interview_events.SessionCancelled:
        return interview_events.SessionCancelled(
            session_id=f"ses_{ULID()}",
            cancel_reason=session_pb2.SessionCancelReason.Value(f"SESSION_CANCEL_REASON_{reason}"),
            product_id=self.product_id,
            cancelled_at=_now(),
            **self._addressee,
        )

    def feedback_published(self) -> interview_events.FeedbackPublished:
        return interview_events.FeedbackPublished(
            session_id=f"ses_{ULID()}",
            feedback_id=f"fbk_{ULID()}",
            rating=4,
            product_id=self.product_id,
            published_at=_now(),
            **self._addressee,
        )
