"""Notifications of the sandbox provider: signature and content."""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from payment_svc.domain.money import Money
from payment_svc.domain.payments import Accepted, Cancelled, Captured, Declined, Outcome
from payment_svc.gateways.port import SignatureInvalid, WebhookMalformed, WebhookPayload

SIGNATURE_HEADER = "sandbox-signature"
_TOLERANCE_SECONDS = 300
# Where a body of an unknown kind is searched for the payment.
_MAX_DEPTH = 10
_MAX_WIDTH = 1000
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
    secret signs with both. The contract limits the header's size, and so their number.
    """
    pairs = [
        part.strip().partition("=")[::2] for part in headers.get(SIGNATURE_HEADER, "").split(",")
    ]
    timestamp = dict(pairs).get("t", "")
    given = [value.encode() for name, value in pairs if name == "v1"]
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
    """Parses a body; raises WebhookMalformed if it is not JSON.

    JSON that is not a valid notification of a charge has no outcome: an operator has to look at it.
    """
    content = _json(body)
    try:
        return _of_charge(content)
    except (ArithmeticError, AttributeError, ValueError, KeyError, TypeError):
        return _of_unknown_kind(content)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WebhookMalformed("the body is not JSON") from error
    except (ValueError, RecursionError):
        # A number of thousands of digits, or lists within thousands of lists.
        return None


def _of_charge(content: Any) -> WebhookPayload:
    """Raises one of several errors unless the content is a valid notification of a charge."""
    charge = content["charge"]
    status = charge["status"]
    if content.get("type", _CHARGE_UPDATED) != _CHARGE_UPDATED or status not in _STATUSES:
        raise ValueError("the kind is unknown")
    amount = _money(charge)
    return WebhookPayload(
        kind=status,
        payment_id=_matching(_PAYMENT_ID, charge["idempotency_key"]),
        order_id=_matching(_ORDER_ID, charge["order_id"]),
        amount=amount,
        outcome=_outcome(status, amount, charge.get("decline_reason", "")),
    )


def _of_unknown_kind(content: object) -> WebhookPayload:
    """The names are those of a charge, in whichever objects of the body they are."""
    objects = list(_objects(content))
    return WebhookPayload(
        kind=_kind(content),
        payment_id=_first_matching(_PAYMENT_ID, "idempotency_key", objects),
        order_id=_first_matching(_ORDER_ID, "order_id", objects),
        amount=next(filter(None, map(_money_or_none, objects)), None),
        outcome=None,
    )


def _objects(content: object) -> Iterator[Mapping[str, object]]:
    """The objects within the content, outermost first, limited in depth and number."""
    level: Sequence[object] = [content]
    for _ in range(_MAX_DEPTH):
        nested: list[object] = []
        for value in level:
            if isinstance(value, dict):
                yield value
                nested += value.values()
            elif isinstance(value, list):
                nested += value
        level = [value for value in nested if isinstance(value, dict | list)][:_MAX_WIDTH]


def _kind(content: object) -> str:
    """The name that the provider gives, in printable ASCII; "" if it gives none."""
    if not isinstance(content, dict):
        return ""
    charge, name = content.get("charge"), content.get("type", _CHARGE_UPDATED)
    if name == _CHARGE_UPDATED and isinstance(charge, dict):
        name = charge.get("status")
    return _NOT_PRINTABLE.sub("?", name[:_MAX_KIND_LENGTH]) if isinstance(name, str) else ""


def _money(charge: Mapping[str, object]) -> Money:
    return Money(_amount(charge["amount_minor"]), _matching(_CURRENCY, charge["currency_code"]))


def _money_or_none(charge: Mapping[str, object]) -> Money | None:
    try:
        return _money(charge)
    except (ValueError, KeyError):
        return None


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


def _first_matching(
    pattern: re.Pattern[str], name: str, objects: Sequence[Mapping[str, object]]
) -> str:
    values = (each.get(name) for each in objects)
    return next((v for v in values if isinstance(v, str) and pattern.fullmatch(v)), "")


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
