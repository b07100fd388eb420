"""The sandbox provider's notifications: who sent one, when, and what it says."""

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
_STAMP = re.compile(r"[0-9]{1,12}")
_MOST_MINOR = 10**15


def check_signature(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes], now: datetime
) -> None:
    """HMAC-SHA256 over `<t>.<body>` by one of the secrets; raises SignatureInvalid."""
    stated = dict(
        part.strip().partition("=")[::2] for part in headers.get(SIGNATURE_HEADER, "").split(",")
    )
    signed = stated.get("t", "").encode() + b"." + body
    given = stated.get("v1", "").encode()
    # All are compared, each in constant time: the time it takes tells nothing.
    fits = [hmac.compare_digest(_signature(signed, secret), given) for secret in secrets]
    if not any(fits):
        raise SignatureInvalid
    # Both skews: a signature from the future is as wrong as an old one.
    if not _is_current(stated.get("t", ""), now):
        raise SignatureInvalid("the signature is stale or from the future")


def _signature(signed: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, signed, hashlib.sha256).hexdigest().encode()


def _is_current(stamp: str, now: datetime) -> bool:
    # int() alone takes signs, blanks and digits of other scripts, and there is no end to its size.
    stated = int(stamp) if _STAMP.fullmatch(stamp) else 0
    return abs(now.timestamp() - stated) <= _TOLERANCE_SECONDS


def read(body: bytes) -> WebhookPayload:
    """What a body says; raises WebhookMalformed."""
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
        raise WebhookMalformed("the body is no notification of a charge") from error


def _amount(value: object) -> int:
    """An amount of money; raises ValueError for what can't be one."""
    if type(value) is not int or not 0 < value <= _MOST_MINOR:
        raise ValueError("not an amount")
    return value


def _matching(pattern: re.Pattern[str], value: object) -> str:
    """A text of this form; raises ValueError for anything else."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError("not of the form that it has to have")
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
            raise ValueError("no status of a charge")
