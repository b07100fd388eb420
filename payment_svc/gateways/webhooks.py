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
# More signatures than any rotation needs; the rest is ignored.
_MAX_SIGNATURES = 16
_CHARGE_UPDATED = "charge.updated"
_STATUSES = frozenset({"CAPTURED", "DECLINED", "CANCELLED", "PROCESSING"})
_MAX_KIND_LENGTH = 100
_NOT_PRINTABLE = re.compile(r"[^!-~]")
_PAYMENT_ID = re.compile(r"pay_[0-9A-HJKMNP-TV-Z]{26}")
_ORDER_ID = re.compile(r"ord_[0-9A-HJKMNP-TV-Z]{26}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_REASON = re.compile(r"[ -~]{0,100}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_MAX_AMOUNT_MINOR = 10**15


def check_signature(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes], now: datetime
) -> None:
    """Checks the HMAC-SHA256 of `<t>.<body>` by one of the secrets; raises SignatureInvalid.

    The header has one `t` and one or more `v1`, of which any may match: a provider that rotates its
    secret signs with both.
    """
    pairs = [
        part.strip().partition("=")[::2] for part in headers.get(SIGNATURE_HEADER, "").split(",")
    ]
    timestamp = dict(pairs).get("t", "")
    given = [value.encode() for name, value in pairs if name == "v1"][:_MAX_SIGNATURES]
    signed = timestamp.encode() + b"." + body
    expected = [_signature(signed, secret) for secret in secrets]
    # Constant time, also over all pairs, so that the duration reveals nothing.
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]
    if not any(matches):
        raise SignatureInvalid
    # Symmetric: a signature from the future is as invalid as an old one.
    if not _is_current(timestamp, now):
        raise SignatureInvalid("the signature is stale or from the future")


def _signature(signed: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, signed, hashlib.sha256).hexdigest().encode()


def _is_current(timestamp: str, now: datetime) -> bool:
    # int() alone accepts signs, blanks, digits of other scripts, and any length.
    seconds = int(timestamp) if _TIMESTAMP.fullmatch(timestamp) else 0
    return abs(now.timestamp() - seconds) <= _TOLERANCE_SECONDS


def parse(body: bytes) -> WebhookPayload:
    """Parses a body; raises WebhookMalformed if it is neither a charge nor of an unknown kind."""
    try:
        content = json.loads(body)
        kind = content.get("type", _CHARGE_UPDATED)
        if kind != _CHARGE_UPDATED:
            return _of_unknown_kind(_kind(kind), content)
        charge = content["charge"]
        status = _kind(charge["status"])
        if status not in _STATUSES:
            return _of_unknown_kind(status, content)
        return _of_charge(status, charge)
    except (
        ArithmeticError,
        AttributeError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ) as error:
        raise WebhookMalformed("the body is not a notification of a charge") from error


def _of_charge(status: str, charge: Mapping[str, object]) -> WebhookPayload:
    amount = _money(charge)
    return WebhookPayload(
        kind=status,
        payment_id=_matching(_PAYMENT_ID, charge["idempotency_key"]),
        order_id=_matching(_ORDER_ID, charge["order_id"]),
        amount=amount,
        outcome=_outcome(status, amount, charge.get("decline_reason", "")),
    )


def _of_unknown_kind(kind: str, content: Mapping[str, object]) -> WebhookPayload:
    """The names are those of a charge, in whichever object of the body they are."""
    objects = [value for value in content.values() if isinstance(value, Mapping)]
    subject: Mapping[str, object] = next(iter(objects), content)
    try:
        amount = _money(subject)
    except (ValueError, KeyError):
        amount = None
    return WebhookPayload(
        kind=kind,
        payment_id=_matching_or_empty(_PAYMENT_ID, subject.get("idempotency_key")),
        order_id=_matching_or_empty(_ORDER_ID, subject.get("order_id")),
        amount=amount,
        outcome=None,
    )


def _kind(value: object) -> str:
    """Any name that the provider gives, in printable ASCII; raises ValueError if it gives none."""
    if not isinstance(value, str) or not value:
        raise ValueError("the value is not a name")
    return _NOT_PRINTABLE.sub("?", value[:_MAX_KIND_LENGTH])


def _money(charge: Mapping[str, object]) -> Money:
    return Money(_amount(charge["amount_minor"]), _matching(_CURRENCY, charge["currency_code"]))


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


def _matching_or_empty(pattern: re.Pattern[str], value: object) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def _outcome(status: str, amount: Money, reason: object) -> Outcome:
    match status:
        case "CAPTURED":
            return Captured(amount)
        case "DECLINED":
            return Declined(_matching(_REASON, reason))
        case "CANCELLED":
            return Cancelled()
        case _:
            return Accepted()
