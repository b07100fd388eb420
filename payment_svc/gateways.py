"""The payment provider, as payment sees it: a port, and the sandbox provider behind it."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import grpc

from payment_svc.domain.money import Money
from payment_svc.domain.payments import (
    Accepted,
    Captured,
    Declined,
    NeverReached,
    NoAnswer,
    Outcome,
    Payment,
)
from sandbox.v1 import provider_service_pb2, provider_service_pb2_grpc

SIGNATURE_HEADER = "sandbox-signature"
_TOLERANCE_SECONDS = 300
_PAYMENT_ID = re.compile(r"pay_[0-9A-HJKMNP-TV-Z]{26}")
_ORDER_ID = re.compile(r"ord_[0-9A-HJKMNP-TV-Z]{26}")
_STAMP = re.compile(r"[0-9]{1,12}")


class SignatureInvalid(Exception):
    """The notification has no valid, current signature of the provider."""


class NotificationMalformed(ValueError):
    """The notification is signed, but can't be read."""


@dataclass(frozen=True, slots=True)
class ProviderNotification:
    """What a verified notification says."""

    payment_id: str
    order_id: str
    amount: Money
    outcome: Outcome


class PaymentGateway(Protocol):
    """Charges means of payment. The payment's id is the idempotency key of its charge."""

    def accepts(self, payment_method: str) -> bool:
        """Whether the provider knows this means of payment."""

    async def charge(self, payment: Payment) -> Outcome:
        """Makes the payment's charge, or finds it made; NoAnswer if no word came back."""

    async def find(self, payment_id: str) -> Outcome:
        """How a charge stands; NeverReached if the provider never got it."""

    def verify(
        self, body: bytes, headers: Mapping[str, str], now: datetime
    ) -> ProviderNotification:
        """Reads a notification; raises SignatureInvalid, NotificationMalformed."""


class SandboxGateway:
    """The sandbox provider, over gRPC."""

    def __init__(self, channel: grpc.aio.Channel, secret: str, seconds: float) -> None:
        self._provider = provider_service_pb2_grpc.ProviderServiceStub(channel)
        self._secret, self._seconds = secret.encode(), seconds

    def accepts(self, payment_method: str) -> bool:
        """See `PaymentGateway`."""
        return payment_method in {
            "sandbox_approve",
            "sandbox_decline",
            "sandbox_slow",
            "sandbox_late",
        }

    async def charge(self, payment: Payment) -> Outcome:
        """See `PaymentGateway`."""
        request = provider_service_pb2.CreateChargeRequest(
            idempotency_key=payment.payment_id,
            order_id=payment.order_id,
            amount_minor=payment.amount.amount_minor,
            currency_code=payment.amount.currency_code,
            payment_method=payment.payment_method,
        )
        try:
            reply = await self._provider.CreateCharge(request, timeout=self._seconds)
        except grpc.aio.AioRpcError:
            return NoAnswer()
        return _outcome(reply.charge.status, reply.charge.decline_reason)

    async def find(self, payment_id: str) -> Outcome:
        """See `PaymentGateway`."""
        request = provider_service_pb2.GetChargeRequest(idempotency_key=payment_id)
        try:
            reply = await self._provider.GetCharge(request, timeout=self._seconds)
        except grpc.aio.AioRpcError as error:
            return NeverReached() if error.code() is grpc.StatusCode.NOT_FOUND else NoAnswer()
        return _outcome(reply.charge.status, reply.charge.decline_reason)

    def verify(
        self, body: bytes, headers: Mapping[str, str], now: datetime
    ) -> ProviderNotification:
        """See `PaymentGateway`. The signature is HMAC-SHA256 over `<t>.<body>`."""
        stated = dict(
            part.strip().partition("=")[::2]
            for part in headers.get(SIGNATURE_HEADER, "").split(",")
        )
        signed = stated.get("t", "").encode() + b"." + body
        expected = hmac.new(self._secret, signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), stated.get("v1", "").encode()):
            raise SignatureInvalid
        # Both skews: a signature from the future is as wrong as an old one.
        if not _is_current(stated.get("t", ""), now):
            raise SignatureInvalid("the signature is stale or from the future")
        return _read(body)


def _is_current(stamp: str, now: datetime) -> bool:
    # int() alone takes signs, blanks and digits of other scripts, and there is no end to its size.
    stated = int(stamp) if _STAMP.fullmatch(stamp) else 0
    return abs(now.timestamp() - stated) <= _TOLERANCE_SECONDS


def _read(body: bytes) -> ProviderNotification:
    try:
        charge = json.loads(body)["charge"]
        status = provider_service_pb2.ChargeStatus.Value(f"CHARGE_STATUS_{charge['status']}")
        return ProviderNotification(
            payment_id=_matching(_PAYMENT_ID, charge["idempotency_key"]),
            order_id=_matching(_ORDER_ID, charge["order_id"]),
            amount=Money(int(charge["amount_minor"]), str(charge["currency_code"])),
            outcome=_outcome(status, str(charge.get("decline_reason", ""))),
        )
    except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotificationMalformed(type(error).__name__) from error


def _matching(pattern: re.Pattern[str], value: object) -> str:
    """An id of ours; raises ValueError for what can't be one."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError("not an id of ours")
    return value


def _outcome(status: provider_service_pb2.ChargeStatus.ValueType, reason: str) -> Outcome:
    match status:
        case provider_service_pb2.CHARGE_STATUS_CAPTURED:
            return Captured()
        case provider_service_pb2.CHARGE_STATUS_DECLINED:
            return Declined(reason)
        case provider_service_pb2.CHARGE_STATUS_PROCESSING:
            return Accepted()
        case _:
            return NoAnswer()
