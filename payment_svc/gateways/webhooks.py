"""Notifications of the sandbox provider: signature and content."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from payment_svc.domain.money import Money
from payment_svc.domain.payments import Accepted, Cancelled, Captured, Declined, Outcome
from payment_svc.gateways.port import SignatureInvalid, WebhookMalformed, WebhookPayload

SIGNATURE_HEADER = "sandbox-signature"
_TOLERANCE_SECONDS = 300
_PAYMENT_ID = re.compile(r"pay_[0-9A-HJKMNP-TV-Z]{26}")
_ORDER_ID = re.compile(r"ord_[0-9A-HJKMNP-TV-Z]{26}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_REASON = re.compile(r"[ -~]{0,100}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_MAX_AMOUNT_MINOR = 10**15


def check_signature(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes], now: datetime
) -> None:
    """Checks the HMAC-SHA256 of `<t>.<body>` by one of the secrets; raises SignatureInvalid."""
    fields = dict(
        part.strip().partition("=")[::2] for part in headers.get(SIGNATURE_HEADER, "").split(",")
    )
    signed = fields.get("t", "").encode() + b"." + body
    given = fields.get("v1", "").encode()
    # Constant time, also over the secrets, so that the duration reveals nothing.
    matches = [hmac.compare_digest(_signature(signed, secret), given) for secret in secrets]
    if not any(matches):
        raise SignatureInvalid
    # Symmetric: a signature from the future is as invalid as an old one.
    if not _is_current(fields.get("t", ""), now):
        raise SignatureInvalid("the signature is stale or from the future")


def _signature(signed: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, signed, hashlib.sha256).hexdigest().encode()


def _is_current(timestamp: str, now: datetime) -> bool:
    # int() alone accepts signs, blanks, digits of other scripts, and any length.
    seconds = int(timestamp) if _TIMESTAMP.fullmatch(timestamp) else 0
    return abs(now.timestamp() - seconds) <= _TOLERANCE_SECONDS


def parse(body: bytes) -> WebhookPayload:
    """Parses a body; raises WebhookMalformed."""
    try:
        charge = json.loads(body)["charge"]
        amount = Money(
            _amount(charge["amount_minor"]), _matching(_CURRENCY, charge["currency_code"])
        )
        return WebhookPayload(
            payment_id=_matching(_PAYMENT_ID, charge["idempotency_key"]),
            order_id=_matching(_ORDER_ID, charge["order_id"]),
            amount=amount,
            outcome=_outcome(charge["status"], amount, charge.get("decline_reason", "")),
        )
    except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WebhookMalformed("the body is not a notification of a charge") from error


def _amount(value: object) -> int:
    """Raises ValueError unless the value is a valid amount."""
    if type(value) is not int or not 0 < value <= _MAX_AMOUNT_MINOR:
        raise ValueError("the value is not an amount")
    return value


def _matching(pattern: re.Pattern[str], value: object) -> str:
    """Raises ValueError unless the value is a string that matches."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError("the value does not match its pattern")
    return value


def _outcome(status: object, amount: Money, reason: object) -> Outcome:
    match status:
        case "CAPTURED":
            return Captured(amount)
        case "DECLINED":
            return Declined(_matching(_REASON, reason))
        case "CANCELLED":
            return Cancelled()
        case "PROCESSING":
            return Accepted()
        case _:
            raise ValueError("the value is not a status of a charge")
