"""notification's settings."""

from email.headerregistry import Address
from email.utils import parseaddr
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from eventbus.backoff import Backoff
from notification_svc.mail.smtp_connections import QUIT_SECONDS, MailServer
from notification_svc.workers.mail_sender import MailSenderSettings
from runtime.settings import ServiceSettings
from shared_model.mail_address import MailAddress, MalformedMailAddress


class NotificationSettings(ServiceSettings):
    """Settings from the environment variables NOTIFICATION_…."""

    model_config = SettingsConfigDict(env_prefix="NOTIFICATION_", extra="ignore")

    smtp_host: str = Field(
        pattern=r"^[^\s/]+$", description="host of the SMTP server, without smtp:// and port"
    )
    smtp_port: int = Field(ge=1, le=65535, description="port of the SMTP server")
    smtp_user: str = Field("", description="user at the SMTP server; empty: no authentication")
    smtp_password: SecretStr = Field(SecretStr(""), description="password of the SMTP user")
    smtp_tls: Literal["none", "starttls", "tls"] = Field(
        "none", description="encryption of the SMTP connection"
    )
    smtp_timeout_seconds: float = Field(10.0, gt=0, description="limit for sending one mail")
    mail_from: str = Field(description="name@example.com or Display Name <name@example.com>")
    mail_first_retry_delay_seconds: float = Field(
        2.0, gt=0, description="delay of the second attempt; doubles with each further one"
    )
    mail_max_retry_delay_seconds: float = Field(60.0, gt=0, description="cap of the retry delay")
    mail_claim_seconds: float = Field(
        30.0,
        gt=0,
        description="after a crash, the current mail is sent again after this time at the latest;"
        " usually within seconds",
    )
    mail_concurrency: int = Field(8, ge=1, le=100, description="mails sent concurrently")
    mail_poll_interval_seconds: float = Field(
        0.5, gt=0, description="interval of looking for due mails unless woken"
    )

    @field_validator("mail_from")
    @classmethod
    def _check_mail_from(cls, value: str) -> str:
        to_sender(value)
        return value

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.mail_claim_seconds <= self.smtp_timeout_seconds + QUIT_SECONDS:
            # Otherwise a mail could be claimed again while its connection is being closed.
            raise ValueError("mail_claim_seconds must exceed smtp_timeout_seconds by a second")
        if self.smtp_user and self.smtp_tls == "none":
            raise ValueError("smtp_user without smtp_tls would send the password in the clear")
        return self

    @property
    def sender(self) -> Address:
        """The sender of all mails."""
        return to_sender(self.mail_from)

    def mail_server(self) -> MailServer:
        """The mail server's settings."""
        return MailServer(
            host=self.smtp_host,
            port=self.smtp_port,
            user=self.smtp_user,
            password=self.smtp_password.get_secret_value(),
            tls=self.smtp_tls,
            seconds=self.smtp_timeout_seconds,
        )

    def sending(self) -> MailSenderSettings:
        """The settings of the mail sender."""
        return MailSenderSettings(
            concurrency=self.mail_concurrency,
            poll_seconds=self.mail_poll_interval_seconds,
            claim_seconds=self.mail_claim_seconds,
            backoff=Backoff(self.mail_first_retry_delay_seconds, self.mail_max_retry_delay_seconds),
        )


def to_sender(text: str) -> Address:
    """An address with or without display name; raises ValueError."""
    name, spec = parseaddr(text)
    try:
        address = MailAddress.parse(spec)
    except MalformedMailAddress as error:
        raise ValueError(f"{text!r} is not a mail address: it {error}") from error
    if address.needs_smtputf8:
        raise ValueError(f"{text!r} needs SMTPUTF8, which not every mail server has")
    return Address(name, address.local_part, address.domain)
