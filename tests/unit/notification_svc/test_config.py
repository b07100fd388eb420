"""notification's settings that have to fit together."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from notification_svc.config import NotificationSettings, to_sender


def settings(**given: Any) -> NotificationSettings:
    return NotificationSettings(
        auth_keys=Path("keys"),
        auth_signing_key=Path("key"),
        database_url=SecretStr("postgresql://user@host/name"),
        nats_url="nats://localhost",
        nats_user="notification",
        nats_password=SecretStr("secret"),
        listen="localhost:0",
        smtp_host="localhost",
        smtp_port=25,
        mail_from="interviews@example.com",
        **given,
    )


@pytest.mark.parametrize("claim_seconds", [9, 10, 10.5, 11])
def test_a_claim_isnt_over_before_the_goodbye_is(claim_seconds: float) -> None:
    """Handing over a mail takes ten seconds at most, and the goodbye one more."""
    with pytest.raises(ValidationError, match="mail_claim_seconds"):
        settings(smtp_timeout_seconds=10, mail_claim_seconds=claim_seconds)


def test_a_claim_may_last_longer_than_sending_and_goodbye() -> None:
    assert (
        settings(smtp_timeout_seconds=10, mail_claim_seconds=11.5).sending().claim_seconds == 11.5
    )


@pytest.mark.parametrize(
    ("mail_from", "address"),
    [
        ("interviews@example.com", "interviews@example.com"),
        ("面试 <interviews@例子.中国>", "interviews@xn--fsqu00a.xn--fiqs8s"),
    ],
)
def test_the_sender_may_have_a_domain_in_another_script(mail_from: str, address: str) -> None:
    assert to_sender(mail_from).addr_spec == address


@pytest.mark.parametrize(
    "mail_from",
    ["", "interviews", "a b@example.com", "面试@example.com", f"{'x' * 65}@example.com"],
)
def test_a_sender_that_not_every_mail_server_takes_is_refused(mail_from: str) -> None:
    with pytest.raises(ValueError, match=r"mail address|SMTPUTF8"):
        to_sender(mail_from)
