"""The ledger of the sandbox provider: charges, cancellations, refunds and webhooks."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_provider.ledger import Ledger
from sandbox_provider.methods import CaptureTiming, PaymentMethodUnknown, payment_method
from sandbox_provider.transactions import Charge, ChargeNotFound, KeyReused, RefundNotFound
from sandbox_provider.webhooks import webhook_body

NOW, LATER = 1000.0, 1002.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "provider.sqlite")
    yield ledger
    ledger.close()


def a_charge(method: str = "sandbox_approve", amount: int = 100, key: str = "pay_1") -> Charge:
    behaviour = payment_method(method)
    return Charge(
        idempotency_key=key,
        charge_id=f"chg_{method}_{key}",
        order_id="ord_1",
        amount_minor=amount,
        currency_code="CNY",
        payment_method=method,
        decline_reason=behaviour.decline_reason,
        capture_at=NOW if behaviour.timing is CaptureTiming.IMMEDIATE else LATER,
        captures_minor=amount - behaviour.shortfall_minor,
    )


def refund(ledger: Ledger, amount: int, key: str = "ref_1", now: float = LATER) -> str:
    """Creates a refund; returns its status and refusal reason."""
    created = ledger.create_refund(key, f"rfd_{key}", "pay_1", amount, now, now + 2)
    return f"{created.status(now)} {created.refusal_reason}".strip()


@pytest.mark.parametrize(
    ("method", "status", "later_status"),
    [
        ("sandbox_approve", "CAPTURED", "CAPTURED"),
        ("sandbox_lost", "CAPTURED", "CAPTURED"),
        ("sandbox_decline", "DECLINED", "DECLINED"),
        ("sandbox_slow", "PROCESSING", "CAPTURED"),
        ("sandbox_late", "PROCESSING", "CAPTURED"),
        ("sandbox_short", "PROCESSING", "CAPTURED"),
        ("sandbox_stubborn", "PROCESSING", "CAPTURED"),
    ],
)
def test_the_payment_method_determines_the_status_of_a_charge(
    ledger: Ledger, method: str, status: str, later_status: str
) -> None:
    charge = ledger.create_charge(a_charge(method))
    assert (charge.status(NOW), charge.status(LATER)) == (status, later_status)


@pytest.mark.parametrize(
    ("method", "later_status"),
    [
        ("sandbox_approve", "CAPTURED"),
        ("sandbox_decline", "DECLINED"),
        ("sandbox_slow", "CANCELLED"),
        ("sandbox_late", "CANCELLED"),
        ("sandbox_short", "CANCELLED"),
        ("sandbox_stubborn", "CAPTURED"),
    ],
)
def test_a_cancelled_charge_is_captured_only_if_it_was_already_or_ignores_cancellation(
    ledger: Ledger, method: str, later_status: str
) -> None:
    created = ledger.create_charge(a_charge(method))
    cancelled = ledger.cancel_charge("pay_1", "chg_2", NOW)
    was_processing = created.status(NOW) == "PROCESSING"
    assert cancelled.status(NOW) == ("CANCELLED" if was_processing else later_status)
    assert ledger.get_charge("pay_1").status(LATER) == later_status
    assert ledger.cancel_charge("pay_1", "chg_3", LATER).status(LATER) == later_status


def test_a_cancelled_charge_has_a_webhook_only_if_it_ignores_cancellation(ledger: Ledger) -> None:
    for method in ("sandbox_late", "sandbox_stubborn"):
        ledger.create_charge(a_charge(method, key=method))
        ledger.cancel_charge(method, "chg_x", NOW)
    keys = [webhook.charge.idempotency_key for webhook in ledger.due_webhooks(LATER, 10)]
    assert keys == ["sandbox_stubborn"]


def test_a_key_that_was_cancelled_before_its_use_creates_no_charge(ledger: Ledger) -> None:
    """For all parameters of a later request."""
    cancelled = ledger.cancel_charge("pay_1", "chg_1", NOW)
    assert (cancelled.status(NOW), cancelled.captured_minor(NOW)) == ("CANCELLED", 0)
    for method in ("sandbox_approve", "sandbox_stubborn", "sandbox_lost"):
        again = ledger.create_charge(a_charge(method, amount=7))
        assert (again.status(LATER), again.charge_id) == ("CANCELLED", "chg_1")
    assert ledger.due_webhooks(LATER, 10) == []
    assert refund(ledger, 1) == "REFUSED CHARGE_NOT_CAPTURED"


def test_refunds_of_a_charge_never_exceed_the_captured_amount(ledger: Ledger) -> None:
    ledger.create_charge(a_charge("sandbox_short"))
    assert refund(ledger, 60, "ref_1") == "SUCCEEDED"
    assert refund(ledger, 40, "ref_2") == "REFUSED EXCEEDS_CAPTURED"
    assert refund(ledger, 39, "ref_3") == "SUCCEEDED"
    assert refund(ledger, 1, "ref_4") == "REFUSED EXCEEDS_CAPTURED"


def test_a_repeated_refund_is_paid_once(ledger: Ledger) -> None:
    """The repetition does not count again; its key with another amount is an error."""
    ledger.create_charge(a_charge())
    assert [refund(ledger, 60), refund(ledger, 60)] == ["SUCCEEDED", "SUCCEEDED"]
    assert refund(ledger, 40, "ref_2") == "SUCCEEDED"
    with pytest.raises(KeyReused):
        refund(ledger, 59)


def test_a_charge_cannot_be_refunded_before_its_capture(ledger: Ledger) -> None:
    """A refused refund stays refused."""
    ledger.create_charge(a_charge("sandbox_late"))
    assert refund(ledger, 1, "ref_1", NOW) == "REFUSED CHARGE_NOT_CAPTURED"
    assert refund(ledger, 1, "ref_2", LATER) == "SUCCEEDED"
    assert refund(ledger, 1, "ref_1", LATER) == "REFUSED CHARGE_NOT_CAPTURED"


def test_a_payment_method_can_refuse_refunds(ledger: Ledger) -> None:
    ledger.create_charge(a_charge("sandbox_no_refund"))
    assert refund(ledger, 1) == "REFUSED REFUND_NOT_ALLOWED"


def test_a_deferred_refund_counts_before_it_is_paid(ledger: Ledger) -> None:
    ledger.create_charge(a_charge("sandbox_slow_refund"))
    assert refund(ledger, 60) == "PROCESSING"
    assert refund(ledger, 60, "ref_2") == "REFUSED EXCEEDS_CAPTURED"
    assert ledger.get_refund("ref_1").status(LATER + 2) == "SUCCEEDED"


def test_an_unknown_charge_cannot_be_refunded(ledger: Ledger) -> None:
    with pytest.raises(ChargeNotFound):
        refund(ledger, 1)
    with pytest.raises(RefundNotFound):
        ledger.get_refund("ref_1")


def test_a_webhook_contains_the_captured_amount(ledger: Ledger) -> None:
    charge = ledger.create_charge(a_charge("sandbox_short"))
    assert json.loads(webhook_body(charge, LATER))["charge"]["amount_minor"] == 99
    assert json.loads(webhook_body(charge, NOW))["charge"]["amount_minor"] == 100


def test_an_unknown_payment_method_is_rejected() -> None:
    with pytest.raises(PaymentMethodUnknown):
        payment_method("cash")


def test_a_ledger_of_an_earlier_version_is_upgraded(tmp_path: Path) -> None:
    """Its charges captured the requested amount, and can be refunded and cancelled."""
    path = tmp_path / "provider.sqlite"
    old = sqlite3.connect(path)
    old.executescript(
        """
        CREATE TABLE charges (
            idempotency_key TEXT PRIMARY KEY, charge_id TEXT NOT NULL UNIQUE,
            order_id TEXT NOT NULL, amount_minor INTEGER NOT NULL, currency_code TEXT NOT NULL,
            payment_method TEXT NOT NULL, decline_reason TEXT NOT NULL, capture_at REAL NOT NULL
        ) STRICT;
        INSERT INTO charges VALUES
            ('pay_1', 'chg_1', 'ord_1', 100, 'CNY', 'sandbox_approve', '', 1000.0),
            ('pay_2', 'chg_2', 'ord_2', 200, 'CNY', 'sandbox_late', '', 1002.0);
        """
    )
    old.close()
    for _ in range(2):
        ledger = Ledger(path)
        assert ledger.get_charge("pay_1").captured_minor(NOW) == 100
        assert ledger.create_charge(a_charge()).charge_id == "chg_1"
        assert refund(ledger, 100) == "SUCCEEDED"
        assert ledger.cancel_charge("pay_2", "chg_3", NOW).status(LATER) == "CANCELLED"
        ledger.close()
