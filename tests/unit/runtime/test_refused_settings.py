"""Settings of services that could only fail later: one line and status 2."""

import pytest
from pydantic_settings import BaseSettings

from interview_svc.config import InterviewSettings
from notification_svc.config import NotificationSettings
from payment_svc.config import PaymentSettings
from runtime.settings import read
from sandbox_provider.config import ProviderSettings


@pytest.mark.parametrize(
    ("settings", "variable", "value"),
    [
        (PaymentSettings, "PAYMENT_PROVIDER_SECRET", ""),
        (PaymentSettings, "PAYMENT_PROVIDER_TARGET", "http://provider:50054"),
        (PaymentSettings, "PAYMENT_PROVIDER_TARGET", ""),
        (PaymentSettings, "PAYMENT_DATABASE_URL", ""),
        (PaymentSettings, "PAYMENT_DATABASE_URL", "postgres://me:secret@host:abc/shop"),
        (PaymentSettings, "PAYMENT_NATS_URL", ""),
        (PaymentSettings, "PAYMENT_NATS_PASSWORD", ""),
        (InterviewSettings, "INTERVIEW_PAYMENT_TARGET", "https://payment:50051"),
        (NotificationSettings, "NOTIFICATION_SMTP_HOST", "smtp://mail.example"),
        (NotificationSettings, "NOTIFICATION_SMTP_HOST", ""),
        (ProviderSettings, "PROVIDER_WEBHOOK_TARGET", "http://payment:50051"),
        (ProviderSettings, "PROVIDER_WEBHOOK_SECRET", ""),
        (ProviderSettings, "PROVIDER_WEBHOOK_SECRET", " "),
        (ProviderSettings, "PROVIDER_LISTEN", "127.0.0.1:99999"),
        (ProviderSettings, "PROVIDER_DATABASE", ""),
        (ProviderSettings, "PROVIDER_AUTH_KEYS", ""),
        (PaymentSettings, "PAYMENT_PROVIDER_SECRET", " "),
        (PaymentSettings, "PAYMENT_LISTEN", "127.0.0.1:99999"),
        (PaymentSettings, "PAYMENT_LISTEN", "foo"),
        (PaymentSettings, "PAYMENT_LISTEN", "http://127.0.0.1:1"),
        (PaymentSettings, "PAYMENT_METRICS_LISTEN", "127.0.0.1:99999"),
        (PaymentSettings, "PAYMENT_INTERNAL_LISTEN", ":50061"),
        (PaymentSettings, "PAYMENT_AUTH_KEYS", ""),
        (PaymentSettings, "PAYMENT_AUTH_SIGNING_KEY", ""),
        (PaymentSettings, "PAYMENT_BUS_INBOX_RETENTION_DAYS", "1000000"),
        (PaymentSettings, "PAYMENT_PROCESSES", "0"),
        (PaymentSettings, "PAYMENT_PROCESSES", "2"),
        (PaymentSettings, "PAYMENT_PROVIDER_HTTP_PROXY", "http://127.0.0.1:99999"),
        (PaymentSettings, "PAYMENT_PROVIDER_HTTP_PROXY", "http://h:0"),
        (InterviewSettings, "INTERVIEW_PAYMENT_HTTP_PROXY", "http://h:0"),
    ],
)
def test_a_value_that_cannot_work_is_named_once_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: type[BaseSettings],
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv("PAYMENT_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        read(settings)
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert [line for line in errors.splitlines() if line.startswith(f"setting {variable}: ")]
    assert errors.count(variable) == 1
    assert "secret@" not in errors
    assert "Value" not in errors
    assert "Field required" not in next(line for line in errors.splitlines() if variable in line)


@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "10000000000"])
@pytest.mark.parametrize(
    "settings", [PaymentSettings, InterviewSettings, NotificationSettings, ProviderSettings]
)
def test_no_number_is_so_large_that_times_overflow(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: type[BaseSettings],
    value: str,
) -> None:
    """Some of them would be used only after the start, such as in each attempt to send a mail."""
    prefix = str(settings.model_config.get("env_prefix"))
    numbers = [
        f"{prefix}{name.upper()}"
        for name, field in settings.model_fields.items()
        if field.annotation in {int, float}
    ]
    assert numbers
    for variable in numbers:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        read(settings)
    errors = capsys.readouterr().err
    assert [variable for variable in numbers if f"setting {variable}: " not in errors] == []
