"""Webhooks of the sandbox provider: signatures and content."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import reduce

import grpc
import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.payments import Accepted, Cancelled, Captured, Declined, Outcome
from payment_svc.gateways import (
    SIGNATURE_HEADER,
    SandboxGateway,
    SignatureInvalid,
    WebhookMalformed,
    WebhookPayload,
)
from runtime.metrics.registry import Metrics
from sandbox_provider.methods import PAYMENT_METHODS

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
SECRET, OLD_SECRET = "secret", "previous secret"
PAYMENT, ORDER = "pay_01ARZ3NDEKTSV4RRFFQ69G5FAV", "ord_01ARZ3NDEKTSV4RRFFQ69G5FAV"
CHARGE = {
    "idempotency_key": PAYMENT,
    "order_id": ORDER,
    "amount_minor": 19900,
    "currency_code": "CNY",
    "status": "CAPTURED",
}
BODY = json.dumps({"charge": CHARGE}).encode()


@pytest.fixture
async def gateway() -> AsyncIterator[SandboxGateway]:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        yield SandboxGateway(channel, [SECRET, OLD_SECRET, ""], 1.0, Metrics())


def signature(timestamp: str, body: bytes = BODY, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def signed(timestamp: str, body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    return {SIGNATURE_HEADER: f"t={timestamp},v1={signature(timestamp, body, secret)}"}


def timestamp(**offset: float) -> str:
    return str(int((NOW + timedelta(**offset)).timestamp()))


def charge(**changes: object) -> bytes:
    return json.dumps({"charge": {**CHARGE, **changes}}).encode()


async def test_a_signed_notification_is_parsed(gateway: SandboxGateway) -> None:
    assert gateway.parse_webhook(BODY, signed(timestamp()), NOW) == WebhookPayload(
        "CAPTURED", PAYMENT, ORDER, Money(19900, "CNY"), Captured(Money(19900, "CNY"))
    )


async def test_blanks_in_the_header_are_ignored(gateway: SandboxGateway) -> None:
    header = {SIGNATURE_HEADER: f" t={timestamp()} , v1={signature(timestamp())}"}
    assert gateway.parse_webhook(BODY, header, NOW).payment_id == PAYMENT


@pytest.mark.parametrize("seconds", [-300, 0, 300])
async def test_clocks_may_differ_by_five_minutes(gateway: SandboxGateway, seconds: int) -> None:
    gateway.parse_webhook(BODY, signed(timestamp(seconds=seconds)), NOW)


@pytest.mark.parametrize(
    "offset", [{"seconds": -301}, {"days": -365}, {"seconds": 301}, {"days": 365}]
)
async def test_a_stale_signature_and_one_from_the_future_are_refused(
    gateway: SandboxGateway, offset: dict[str, float]
) -> None:
    with pytest.raises(SignatureInvalid, match="stale"):
        gateway.parse_webhook(BODY, signed(timestamp(**offset)), NOW)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=",
        "v1=",
        ",",
        "=",
        "nonsense",
        f"t={timestamp()}",
        f"v1={signature(timestamp())}",
        f"t={timestamp()},v1=",
        f"t={timestamp()},v1={'0' * 64}",
        f"t={timestamp()},v1={signature(timestamp())[:-1]}",
        f"t={timestamp()},v1={signature(timestamp()).upper()}",
        f"t={timestamp(seconds=1)},v1={signature(timestamp())}",
        f"t={timestamp()},v1={'0' * 64},v1={'1' * 64}",
        f"t={timestamp()},v0={signature(timestamp())}",
        f"t={timestamp()},t={timestamp(seconds=1)},v1={signature(timestamp())}",
        f"t={timestamp()},v1=ü",
        "t=soon,v1=x",
    ],
)
async def test_a_wrong_or_missing_signature_is_refused(
    gateway: SandboxGateway, header: str
) -> None:
    with pytest.raises(SignatureInvalid):
        gateway.parse_webhook(BODY, {SIGNATURE_HEADER: header}, NOW)


@pytest.mark.parametrize(
    "others", [["0" * 64], [""], ["ü"], [signature(timestamp(), secret="next secret")]]
)
@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
async def test_one_of_several_signatures_suffices(
    gateway: SandboxGateway, others: list[str], secret: str
) -> None:
    """In any place: a provider that rotates its secret signs with both."""
    valid = signature(timestamp(), secret=secret)
    for given in ([valid, *others], [*others, valid], [*others * 100, valid]):
        header = ",".join([f"t={timestamp()}", *(f"v1={one}" for one in given)])
        assert gateway.parse_webhook(BODY, {SIGNATURE_HEADER: header}, NOW).payment_id == PAYMENT


async def test_a_notification_without_the_header_is_refused(gateway: SandboxGateway) -> None:
    with pytest.raises(SignatureInvalid):
        gateway.parse_webhook(BODY, {}, NOW)


async def test_a_signature_of_another_body_is_refused(gateway: SandboxGateway) -> None:
    with pytest.raises(SignatureInvalid):
        gateway.parse_webhook(charge(amount_minor=1), signed(timestamp()), NOW)


async def test_both_secrets_are_valid_during_a_rotation(
    gateway: SandboxGateway,
) -> None:
    """Another secret is not valid, nor is the empty one."""
    gateway.parse_webhook(BODY, signed(timestamp(), secret=SECRET), NOW)
    gateway.parse_webhook(BODY, signed(timestamp(), secret=OLD_SECRET), NOW)
    for other in ("", "next secret"):
        with pytest.raises(SignatureInvalid):
            gateway.parse_webhook(BODY, signed(timestamp(), secret=other), NOW)


@pytest.mark.parametrize("offset", [{"seconds": -301}, {"seconds": 301}])
async def test_a_stale_signature_with_the_old_secret_is_refused(
    gateway: SandboxGateway, offset: dict[str, float]
) -> None:
    with pytest.raises(SignatureInvalid, match="stale"):
        gateway.parse_webhook(BODY, signed(timestamp(**offset), secret=OLD_SECRET), NOW)


async def test_a_signature_with_another_secret_is_refused(gateway: SandboxGateway) -> None:
    with pytest.raises(SignatureInvalid):
        gateway.parse_webhook(BODY, signed(timestamp(), secret="another"), NOW)


@pytest.mark.parametrize("when", ["", "soon", "1e9", "-", "9" * 400, "٣"])
async def test_a_signature_with_a_malformed_timestamp_is_refused(
    gateway: SandboxGateway, when: str
) -> None:
    """Even if the signature is correct."""
    with pytest.raises(SignatureInvalid):
        gateway.parse_webhook(BODY, signed(when), NOW)


async def test_a_signature_without_a_timestamp_is_refused(gateway: SandboxGateway) -> None:
    with pytest.raises(SignatureInvalid):
        gateway.parse_webhook(BODY, {SIGNATURE_HEADER: f"v1={signature('')}"}, NOW)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("CAPTURED", Captured(Money(19900, "CNY"))),
        ("DECLINED", Declined("no funds")),
        ("PROCESSING", Accepted()),
        ("CANCELLED", Cancelled()),
    ],
)
async def test_each_status_has_its_outcome(
    gateway: SandboxGateway, status: str, outcome: Outcome
) -> None:
    body = charge(status=status, decline_reason="no funds")
    assert gateway.parse_webhook(body, signed(timestamp(), body), NOW).outcome == outcome


@pytest.mark.parametrize("body", [b"", b"\xff", b"charge", b"{", b'{"type": }'])
async def test_a_signed_notification_that_is_not_json_is_malformed(
    gateway: SandboxGateway, body: bytes
) -> None:
    with pytest.raises(WebhookMalformed, match="not JSON"):
        gateway.parse_webhook(body, signed(timestamp(), body), NOW)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[]", ""),
        (b"null", ""),
        (b"7", ""),
        (b"{}", "charge.updated"),
        (b'{"charge": null}', "charge.updated"),
        (b'{"charge": {}}', ""),
        (b'{"type": null}', ""),
        (b'{"type": ""}', ""),
        (b'{"type": 7}', ""),
        (b'{"type": ["dispute"]}', ""),
        (b'{"type": "charge.updated"}', "charge.updated"),
        (charge(status=None), ""),
        (charge(status=""), ""),
        (charge(status=7), ""),
        (charge(status=["CAPTURED"]), ""),
        (charge(status="DECLINED", decline_reason="\x00"), "DECLINED"),
        (charge(status="DECLINED", decline_reason=None), "DECLINED"),
        (charge(status="DECLINED", decline_reason="x" * 101), "DECLINED"),
        (charge(amount_minor="much"), "CAPTURED"),
        (charge(amount_minor=None), "CAPTURED"),
        (charge(amount_minor=float("inf")), "CAPTURED"),
        (charge(amount_minor="19900"), "CAPTURED"),
        (charge(amount_minor=True), "CAPTURED"),
        (charge(amount_minor=0), "CAPTURED"),
        (charge(amount_minor=-1), "CAPTURED"),
        (charge(amount_minor=2**63), "CAPTURED"),
        (charge(currency_code="cny"), "CAPTURED"),
        (charge(currency_code="\ud800"), "CAPTURED"),
        (charge(idempotency_key="pay_1"), "CAPTURED"),
        (charge(idempotency_key=None), "CAPTURED"),
        (charge(order_id=[ORDER]), "CAPTURED"),
        (charge(order_id=f"{ORDER}\x00"), "CAPTURED"),
        (b'{"charge": ' + b"9" * 60_000 + b"}", ""),
        (b"[" * 100_000 + b"]" * 100_000, ""),
    ],
)
async def test_signed_json_that_is_not_understood_has_no_outcome(
    gateway: SandboxGateway, body: bytes, kind: str
) -> None:
    """So it is QUARANTINED: a refusal would make the provider give the endpoint up."""
    parsed = gateway.parse_webhook(body, signed(timestamp(), body), NOW)
    assert (parsed.kind, parsed.outcome) == (kind, None)


@pytest.mark.parametrize("method", [name for name in PAYMENT_METHODS if name])
async def test_the_gateway_supports_the_methods_of_the_sandbox_provider(
    gateway: SandboxGateway, method: str
) -> None:
    assert gateway.supports(method)
    assert not gateway.supports(f"{method}r")
    assert not gateway.supports("")


DISPUTE = {
    "idempotency_key": PAYMENT,
    "order_id": ORDER,
    "amount_minor": 100,
    "currency_code": "CNY",
}


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        (
            {"type": "charge.updated", "charge": {**CHARGE, "status": "CHARGED_BACK"}},
            ("CHARGED_BACK", PAYMENT, ORDER, Money(19900, "CNY"), None),
        ),
        (
            {"type": "dispute.created", "dispute": DISPUTE},
            ("dispute.created", PAYMENT, ORDER, Money(100, "CNY"), None),
        ),
        (
            {"type": "charge.refunded", "charge": CHARGE},
            ("charge.refunded", PAYMENT, ORDER, Money(19900, "CNY"), None),
        ),
        (
            {"type": "charge.dispute.created", "data": {"object": DISPUTE}},
            ("charge.dispute.created", PAYMENT, ORDER, Money(100, "CNY"), None),
        ),
        (
            {"type": "dispute.created", "meta": {"attempt": 1}, "charge": DISPUTE},
            ("dispute.created", PAYMENT, ORDER, Money(100, "CNY"), None),
        ),
        (
            {"type": "disputes", "list": [1, [{"order_id": ORDER, "charge": DISPUTE}]]},
            ("disputes", PAYMENT, ORDER, Money(100, "CNY"), None),
        ),
        (
            {"type": "deep", "data": reduce(lambda inner, _: {"data": inner}, range(10), DISPUTE)},
            ("deep", "", "", None, None),
        ),
        ({"type": "payout.paid"}, ("payout.paid", "", "", None, None)),
        (
            {"type": "dispute.created", "dispute": {"idempotency_key": 1, "amount_minor": "x"}},
            ("dispute.created", "", "", None, None),
        ),
        ({"type": "争议 \x00\ud800"}, ("?????", "", "", None, None)),
        ({"type": "x" * 1000}, ("x" * 100, "", "", None, None)),
    ],
)
async def test_a_signed_notification_of_an_unknown_kind_has_no_outcome(
    gateway: SandboxGateway,
    content: dict[str, object],
    payload: tuple[str, str, str, Money | None, None],
) -> None:
    """It has the payment, order and amount that it names in the known form."""
    body = json.dumps(content).encode()
    parsed = gateway.parse_webhook(body, signed(timestamp(), body), NOW)
    assert parsed == WebhookPayload(*payload)
