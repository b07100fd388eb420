"""notification's settings."""

from email.errors import MessageError
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from eventbus.ack_policy import Backoff
from notification_svc.mail.smtp import PARTING_SECONDS, MailServer
from notification_svc.workers.mail_sender import MailSenderSettings
from runtime.settings import ServiceSettings


class NotificationSettings(ServiceSettings):
    """Read from the environment variables NOTIFICATION_…."""

    model_config = SettingsConfigDict(env_prefix="NOTIFICATION_", extra="ignore")

    smtp_host: str = Field(description="the mail server that takes the mails")
    smtp_port: int = Field(ge=1, le=65535)
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_tls: Literal["none", "starttls", "tls"] = "none"
    smtp_seconds: float = Field(10.0, gt=0, description="how long handing over a mail may take")
    mail_from: str = Field(description="name@example.com or Display Name <name@example.com>")
    mail_first_delay: float = Field(2.0, gt=0, description="before the second try; then doubling")
    mail_max_delay: float = Field(60.0, gt=0)
    mail_claim_seconds: float = Field(
        30.0, gt=0, description="a mail that a killed process was sending is tried again after this"
    )
    mail_concurrency: int = Field(8, ge=1, le=100, description="mails sent side by side")
    mail_poll_interval: float = Field(0.5, gt=0, description="looking for mails unless woken")

    @field_validator("mail_from")
    @classmethod
    def _is_address(cls, value: str) -> str:
        to_sender(value)
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.mail_claim_seconds <= self.smtp_seconds + PARTING_SECONDS:
            # Or else a mail is claimed again while its connection says goodbye.
            raise ValueError("mail_claim_seconds must be more than a second above smtp_seconds")
        if self.smtp_user and self.smtp_tls == "none":
            raise ValueError("smtp_user without smtp_tls would send the password in the clear")
        return self

    @property
    def sender(self) -> Address:
        """Whom mails come from."""
        return to_sender(self.mail_from)

    def mail_server(self) -> MailServer:
        """The mail server's settings."""
        return MailServer(
            host=self.smtp_host,
            port=self.smtp_port,
            user=self.smtp_user,
            password=self.smtp_password.get_secret_value(),
            tls=self.smtp_tls,
            seconds=self.smtp_seconds,
        )

    def sending(self) -> MailSenderSettings:
        """The sending worker's settings."""
        return MailSenderSettings(
            concurrency=self.mail_concurrency,
            poll_seconds=self.mail_poll_interval,
            claim_seconds=self.mail_claim_seconds,
            backoff=Backoff(self.mail_first_delay, self.mail_max_delay),
        )


def to_sender(text: str) -> Address:
    """An address with or without display name; raises ValueError."""
    name, spec = parseaddr(text)
    try:
        address = Address(name, addr_spec=spec)
    except (ValueError, IndexError, MessageError) as error:
        raise ValueError(f"{text!r} is not a mail address") from error
    if not address.username or not address.domain:
        raise ValueError(f"{text!r} is not a mail address")
    return address
