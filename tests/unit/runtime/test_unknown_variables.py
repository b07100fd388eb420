"""Misspelt variables are named at the start, with the one that was probably meant."""

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from devstack.settings import Settings
from eventbus.unknown_variables import unknown_variables
from opsctl.command_line import app as opsctl
from payment_svc.config import PaymentSettings
from runtime.settings import warn_of_unknown_variables

KNOWN = ("PAYMENT_NATS_URL", "PAYMENT_TIME_TO_PAY_SECONDS")


def test_a_misspelt_variable_is_found_with_a_suggestion() -> None:
    environ = {"PAYMENT_NATS_ULR": "", "payment_nats_url": "", "OTHER": "", "PAYMENT_QQQQ": ""}
    assert list(unknown_variables("PAYMENT_", KNOWN, environ)) == [
        ("PAYMENT_NATS_ULR", "PAYMENT_NATS_URL"),
        ("PAYMENT_QQQQ", ""),
    ]


def test_variables_that_kubernetes_sets_for_a_service_are_not_misspelt() -> None:
    names = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_GRPC", "PORT", "PORT_50051_TCP_ADDR")
    environ = {f"PAYMENT_{name}": "" for name in names}
    assert list(unknown_variables("PAYMENT_", KNOWN, environ)) == []


def test_a_service_warns_of_a_misspelt_setting_and_not_of_the_migrations_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PAYMENT_TIME_TO_PAY_SECOND", "60")
    monkeypatch.setenv("PAYMENT_OWNER_DATABASE_URL", "postgresql://owner@host/name")
    with capture_logs() as logs:
        warn_of_unknown_variables(PaymentSettings)
    assert logs == [
        {
            "event": "unknown setting",
            "log_level": "warning",
            "variable": "PAYMENT_TIME_TO_PAY_SECOND",
            "did_you_mean": "PAYMENT_TIME_TO_PAY_SECONDS",
        }
    ]


def test_devstack_and_opsctl_name_it_too() -> None:
    (line,) = Settings.unknown_variables({"DEVSTACK_POSTGRES_URI": "", "DEVSTACK_NATS_PORT": "1"})
    assert line.endswith("did you mean DEVSTACK_POSTGRES_URL?")
    variables = {"OPSCTL_PAYMNT": "127.0.0.1:1", "OPSCTL_NATS_TLS_ROOTS": "roots.pem"}
    subject = ["decode", "payment.v1.None.key"]
    errors = CliRunner().invoke(opsctl, subject, env=variables).stderr
    assert (
        "OPSCTL_PAYMNT is not a setting and has no effect; did you mean OPSCTL_PAYMENT?" in errors
    )
    assert "OPSCTL_NATS_TLS_ROOTS" not in errors
