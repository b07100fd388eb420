"""A provider's notification counts if it is signed by the provider, now, over this body."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

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
from sandbox_provider.methods import PAYMENT_METHODS

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
SECRET, OLD_SECRET = "the provider's", "the provider's last year"
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
        yield SandboxGateway(channel, [SECRET, OLD_SECRET, ""], 1.0)


def mac(stamp: str, body: bytes = BODY, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def signed(stamp: str, body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    return {SIGNATURE_HEADER: f"t={stamp},v1={mac(stamp, body, secret)}"}


def stamp(**offset: float) -> str:
    return str(int((NOW + timedelta(**offset)).timestamp()))


def charge(**changes: object) -> bytes:
    return json.dumps({"charge": {**CHARGE, **changes}}).encode()


async def test_a_signed_notification_is_read(gateway: SandboxGateway) -> None:
    assert gateway.verify(BODY, signed(stamp()), NOW) == WebhookPayload(
        PAYMENT, ORDER, Money(19900, "CNY"), Captured(Money(19900, "CNY"))
    )


async def test_blanks_in_the_header_dont_matter(gateway: SandboxGateway) -> None:
    header = {SIGNATURE_HEADER: f" t={stamp()} , v1={mac(stamp())}"}
    assert gateway.verify(BODY, header, NOW).payment_id == PAYMENT


@pytest.mark.parametrize("seconds", [-300, 0, 300])
async def test_clocks_may_differ_by_five_minutes(gateway: SandboxGateway, seconds: int) -> None:
    gateway.verify(BODY, signed(stamp(seconds=seconds)), NOW)


@pytest.mark.parametrize(
    "offset", [{"seconds": -301}, {"days": -365}, {"seconds": 301}, {"days": 365}]
)
async def test_a_stale_signature_and_one_from_the_future_are_refused(
    gateway: SandboxGateway, offset: dict[str, float]
) -> None:
    with pytest.raises(SignatureInvalid, match="stale"):
        gateway.verify(BODY, signed(stamp(**offset)), NOW)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=",
        "v1=",
        ",",
        "=",
        "nonsense",
        f"t={stamp()}",
        f"v1={mac(stamp())}",
        f"t={stamp()},v1=",
        f"t={stamp()},v1={'0' * 64}",
        f"t={stamp()},v1={mac(stamp())[:-1]}",
        f"t={stamp()},v1={mac(stamp()).upper()}",
        f"t={stamp(seconds=1)},v1={mac(stamp())}",
        f"t={stamp()},v1={mac(stamp())},v1={'0' * 64}",
        f"t={stamp()},v1=ü",
        "t=soon,v1=x",
    ],
)
async def test_a_wrong_or_missing_signature_is_refused(
    gateway: SandboxGateway, header: str
) -> None:
    with pytest.raises(SignatureInvalid):
        gateway.verify(BODY, {SIGNATURE_HEADER: header}, NOW)


async def test_a_notification_without_the_header_is_refused(gateway: SandboxGateway) -> None:
    with pytest.raises(SignatureInvalid):
        gateway.verify(BODY, {}, NOW)


async def test_a_signature_of_another_body_is_refused(gateway: SandboxGateway) -> None:
    with pytest.raises(SignatureInvalid):
        gateway.verify(charge(amount_minor=1), signed(stamp()), NOW)


async def test_two_secrets_live_side_by_side_while_one_replaces_the_other(
    gateway: SandboxGateway,
) -> None:
    """Signed by either, a notification counts; by none, not: an empty secret is no secret."""
    gateway.verify(BODY, signed(stamp(), secret=SECRET), NOW)
    gateway.verify(BODY, signed(stamp(), secret=OLD_SECRET), NOW)
    for other in ("", "the provider's next year"):
        with pytest.raises(SignatureInvalid):
            gateway.verify(BODY, signed(stamp(), secret=other), NOW)


@pytest.mark.parametrize("offset", [{"seconds": -301}, {"seconds": 301}])
async def test_a_stale_signature_by_the_old_secret_is_refused(
    gateway: SandboxGateway, offset: dict[str, float]
) -> None:
    with pytest.raises(SignatureInvalid, match="stale"):
        gateway.verify(BODY, signed(stamp(**offset), secret=OLD_SECRET), NOW)


async def test_a_signature_by_another_is_refused(gateway: SandboxGateway) -> None:
    with pytest.raises(SignatureInvalid):
        gateway.verify(BODY, signed(stamp(), secret="mine"), NOW)


@pytest.mark.parametrize("when", ["", "soon", "1e9", "-", "9" * 400, "٣"])
async def test_a_signature_over_a_time_that_is_none_is_refused(
    gateway: SandboxGateway, when: str
) -> None:
    """Correctly signed: the provider has a defect, or somebody has its secret."""
    with pytest.raises(SignatureInvalid):
        gateway.verify(BODY, signed(when), NOW)


async def test_a_signature_without_a_time_is_refused(gateway: SandboxGateway) -> None:
    with pytest.raises(SignatureInvalid):
        gateway.verify(BODY, {SIGNATURE_HEADER: f"v1={mac('')}"}, NOW)


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
    assert gateway.verify(body, signed(stamp(), body), NOW).outcome == outcome


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"charge": null}',
        b'{"charge": {}}',
        charge(status="MAYBE"),
        charge(status="UNSPECIFIED"),
        charge(status=None),
        charge(status="DECLINED", decline_reason="\x00"),
        charge(status="DECLINED", decline_reason=None),
        charge(status="DECLINED", decline_reason="x" * 101),
        charge(amount_minor="much"),
        charge(amount_minor=None),
        charge(amount_minor=float("inf")),
        charge(amount_minor="19900"),
        charge(amount_minor=True),
        charge(amount_minor=0),
        charge(amount_minor=-1),
        charge(amount_minor=2**63),
        charge(currency_code="cny"),
        charge(currency_code="\ud800"),
        charge(idempotency_key="pay_1"),
        charge(idempotency_key=None),
        charge(order_id=[ORDER]),
        charge(order_id=f"{ORDER}\x00"),
        b"[" * 100_000,
    ],
)
async def test_a_signed_notification_that_cant_be_read_is_malformed(
    gateway: SandboxGateway, body: bytes
) -> None:
    with pytest.raises(WebhookMalformed, match="no notification of a charge"):
        gateway.verify(body, signed(stamp(), body), NOW)


@pytest.mark.parametrize("method", [name for name in PAYMENT_METHODS if name])
async def test_the_sandbox_knows_its_own_means_of_payment(
    gateway: SandboxGateway, method: str
) -> None:
    assert gateway.accepts(method)
    assert not gateway.accepts(f"{method}r")
    assert not gateway.accepts("")
