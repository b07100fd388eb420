"""The sandbox provider's ledger: what it charged and paid back, whatever it is asked again."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_provider.ledger import Ledger
from sandbox_provider.methods import Pace, PaymentMethodUnknown, behaviour
from sandbox_provider.transactions import Charge, ChargeNotFound, KeyReused, RefundNotFound
from sandbox_provider.webhooks import compose

NOW, LATER = 1000.0, 1002.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "provider.sqlite")
    yield ledger
    ledger.close()


def a_charge(method: str = "sandbox_approve", amount: int = 100, key: str = "pay_1") -> Charge:
    how = behaviour(method)
    return Charge(
        idempotency_key=key,
        charge_id=f"chg_{method}_{key}",
        order_id="ord_1",
        amount_minor=amount,
        currency_code="CNY",
        payment_method=method,
        decline_reason=how.decline_reason,
        capture_at=NOW if how.pace is Pace.AT_ONCE else LATER,
        captures_minor=amount - how.shortfall,
    )


def refunded(ledger: Ledger, amount: int, key: str = "ref_1", now: float = LATER) -> str:
    """The refund's status at once, and why it is refused."""
    refund = ledger.refund(key, f"rfd_{key}", "pay_1", amount, now, now + 2)
    return f"{refund.status(now)} {refund.refusal_reason}".strip()


@pytest.mark.parametrize(
    ("method", "run_immediately", "later"),
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
def test_a_charge_becomes_what_its_method_says(
    ledger: Ledger, method: str, run_immediately: str, later: str
) -> None:
    charge = ledger.record(a_charge(method))
    assert (charge.status(NOW), charge.status(LATER)) == (run_immediately, later)


@pytest.mark.parametrize(
    ("method", "later"),
    [
        ("sandbox_approve", "CAPTURED"),
        ("sandbox_decline", "DECLINED"),
        ("sandbox_slow", "CANCELLED"),
        ("sandbox_late", "CANCELLED"),
        ("sandbox_short", "CANCELLED"),
        ("sandbox_stubborn", "CAPTURED"),
    ],
)
def test_a_cancelled_charge_isnt_captured_unless_it_was_or_is_stubborn(
    ledger: Ledger, method: str, later: str
) -> None:
    recorded = ledger.record(a_charge(method))
    closed = ledger.cancel("pay_1", "chg_2", NOW)
    open_until_then = recorded.status(NOW) == "PROCESSING"
    assert closed.status(NOW) == ("CANCELLED" if open_until_then else later)
    assert ledger.get("pay_1").status(LATER) == later
    assert ledger.cancel("pay_1", "chg_3", LATER).status(LATER) == later


def test_only_a_stubborn_charge_is_told_about_after_it_was_cancelled(ledger: Ledger) -> None:
    for method in ("sandbox_late", "sandbox_stubborn"):
        ledger.record(a_charge(method, key=method))
        ledger.cancel(method, "chg_x", NOW)
    assert [owed.charge.idempotency_key for owed in ledger.owed(LATER, 10)] == ["sandbox_stubborn"]


def test_a_key_that_was_closed_before_it_was_used_makes_no_charge(ledger: Ledger) -> None:
    """Whatever is asked under it later."""
    closed = ledger.cancel("pay_1", "chg_1", NOW)
    assert (closed.status(NOW), closed.captured_minor(NOW)) == ("CANCELLED", 0)
    for method in ("sandbox_approve", "sandbox_stubborn", "sandbox_lost"):
        again = ledger.record(a_charge(method, amount=7))
        assert (again.status(LATER), again.charge_id) == ("CANCELLED", "chg_1")
    assert ledger.owed(LATER, 10) == []
    assert refunded(ledger, 1) == "REFUSED CHARGE_NOT_CAPTURED"


def test_refunds_of_a_charge_never_exceed_what_it_captured(ledger: Ledger) -> None:
    ledger.record(a_charge("sandbox_short"))
    assert refunded(ledger, 60, "ref_1") == "SUCCEEDED"
    assert refunded(ledger, 40, "ref_2") == "REFUSED EXCEEDS_CAPTURED"
    assert refunded(ledger, 39, "ref_3") == "SUCCEEDED"
    assert refunded(ledger, 1, "ref_4") == "REFUSED EXCEEDS_CAPTURED"


def test_a_refund_repeated_pays_nothing_again(ledger: Ledger) -> None:
    """A refused one stays so; another amount under its key is an error."""
    ledger.record(a_charge())
    assert [refunded(ledger, 60), refunded(ledger, 60)] == ["SUCCEEDED", "SUCCEEDED"]
    assert refunded(ledger, 40, "ref_2") == "SUCCEEDED"
    with pytest.raises(KeyReused):
        refunded(ledger, 59)


def test_what_isnt_captured_cant_be_refunded(ledger: Ledger) -> None:
    ledger.record(a_charge("sandbox_late"))
    assert refunded(ledger, 1, "ref_1", NOW) == "REFUSED CHARGE_NOT_CAPTURED"
    assert refunded(ledger, 1, "ref_2", LATER) == "SUCCEEDED"
    assert refunded(ledger, 1, "ref_1", LATER) == "REFUSED CHARGE_NOT_CAPTURED"


def test_some_charges_cant_be_refunded(ledger: Ledger) -> None:
    ledger.record(a_charge("sandbox_no_refund"))
    assert refunded(ledger, 1) == "REFUSED REFUND_NOT_ALLOWED"


def test_some_refunds_take_a_while_and_count_meanwhile(ledger: Ledger) -> None:
    ledger.record(a_charge("sandbox_slow_refund"))
    assert refunded(ledger, 60) == "PROCESSING"
    assert refunded(ledger, 60, "ref_2") == "REFUSED EXCEEDS_CAPTURED"
    assert ledger.get_refund("ref_1").status(LATER + 2) == "SUCCEEDED"


def test_there_is_no_refund_of_an_unknown_charge(ledger: Ledger) -> None:
    with pytest.raises(ChargeNotFound):
        refunded(ledger, 1)
    with pytest.raises(RefundNotFound):
        ledger.get_refund("ref_1")


def test_a_notification_tells_what_was_captured(ledger: Ledger) -> None:
    charge = ledger.record(a_charge("sandbox_short"))
    assert json.loads(compose(charge, LATER))["charge"]["amount_minor"] == 99
    assert json.loads(compose(charge, NOW))["charge"]["amount_minor"] == 100


def test_there_is_no_other_means_of_payment() -> None:
    with pytest.raises(PaymentMethodUnknown):
        behaviour("cash")


def test_a_ledger_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Its charges captured what they were asked for, and can be refunded and cancelled."""
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
        assert ledger.get("pay_1").captured_minor(NOW) == 100
        assert ledger.record(a_charge()).charge_id == "chg_1"
        assert refunded(ledger, 100) == "SUCCEEDED"
        assert ledger.cancel("pay_2", "chg_3", NOW).status(LATER) == "CANCELLED"
        ledger.close()
