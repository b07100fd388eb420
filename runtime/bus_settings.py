"""Settings of the bus: the broker and how to log in, events per batch, retries, retention."""

from datetime import timedelta
from typing import Self, TypeVar

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings

from eventbus import ConsumerSettings, RelaySettings
from eventbus.backoff import Backoff
from eventbus.jetstream import BrokerLogin, InvalidBrokerLogin, JetStream
from eventbus.retention import RetentionSettings
from runtime.setting_values import OptionalFile

_CLOCK_SKEW = timedelta(days=1)
Given = TypeVar("Given", str, SecretStr)


class BusSettings(BaseSettings):
    """A service's settings of the bus. Durations are seconds unless the name says otherwise."""

    nats_url: str = Field(
        description="nats://host:port, or tls://host:port; several are separated by commas"
    )
    nats_credentials: OptionalFile = Field(
        None,
        description="file with the key of a NATS user, and the user's token if the servers know"
        " users by tokens; instead of user and password",
    )
    nats_user: str = Field(
        "",
        validate_default=True,
        description="the service's own user at the broker; required without NATS_CREDENTIALS",
    )
    nats_password: SecretStr = Field(
        SecretStr(""),
        validate_default=True,
        description="password of the broker user; required without NATS_CREDENTIALS",
    )
    nats_tls_roots: OptionalFile = Field(
        None, description="PEM file of the roots to trust at the broker; demands TLS"
    )
    nats_tls_certificate: OptionalFile = Field(
        None, description="PEM file of a client certificate for the broker; demands TLS"
    )
    nats_tls_key: OptionalFile = Field(
        None, description="PEM file of the client certificate's private key"
    )

    bus_batch_size: int = Field(200, ge=1, le=1000, description="events per fetch")
    bus_publish_batch_size: int = Field(500, ge=1, le=1000, description="events per publish")
    bus_max_attempts: int = Field(8, ge=1, description="attempts until an event is a dead letter")
    bus_first_retry_delay_seconds: float = Field(
        0.5, gt=0, description="delay of the second attempt; doubles with each further one"
    )
    bus_max_retry_delay_seconds: float = Field(60.0, gt=0, description="cap of the retry delay")
    bus_poll_interval_seconds: float = Field(
        0.5, gt=0, description="interval of outbox polling when nothing wakes the relay"
    )
    bus_lease_seconds: float = Field(
        5.0,
        gt=1,
        description="lease of a relay; after a crash another takes over then",
    )
    bus_published_retention_days: int = Field(
        7, ge=1, le=3650, description="how many days published events are kept for requeueing"
    )
    bus_inbox_retention_days: int = Field(
        30, ge=2, le=3650, description="how many days inbox marks are kept"
    )
    bus_reconciliation_interval_seconds: float = Field(
        300.0, gt=0, description="interval of the comparison of outbox, streams and inboxes"
    )
    bus_reconciliation_repair: bool = Field(
        True, description="whether missing events are published or handled again"
    )

    @field_validator("nats_url")
    @classmethod
    def _check_nats_url(cls, url: str) -> str:
        BrokerLogin.check_address(url)
        return url

    @field_validator("nats_user", "nats_password")
    @classmethod
    def _check_nats_login(cls, value: Given, info: ValidationInfo) -> Given:
        in_url = "@" in info.data.get("nats_url", "")
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text and not text.strip():
            raise ValueError("it must not be blank")
        if not (text or in_url or info.data.get("nats_credentials")):
            raise ValueError("it is required without nats_credentials")
        return value

    @model_validator(mode="after")
    def _check_retention(self) -> Self:
        # An event that is published again must find its mark, or it takes effect twice.
        if self.bus_inbox_retention_days <= self.bus_published_retention_days:
            raise ValueError(
                "bus_inbox_retention_days must be more than bus_published_retention_days"
            )
        return self

    @model_validator(mode="after")
    def _check_broker_login(self) -> Self:
        try:
            self.broker_login()
        except InvalidBrokerLogin as error:
            names = ", ".join(f"nats_{argument}" for argument in error.arguments)
            raise ValueError(f"{names}: {error}") from None
        return self

    def create_broker(self, name: str) -> JetStream:
        """A connection to the broker as the service's own user, not opened yet."""
        return JetStream(self.broker_login(), name)

    def broker_login(self) -> BrokerLogin:
        """Address of the broker and what to log in with."""
        return BrokerLogin.parse(
            self.nats_url,
            self.nats_user,
            self.nats_password.get_secret_value(),
            self.nats_credentials,
            self.nats_tls_roots,
            self.nats_tls_certificate,
            self.nats_tls_key,
        )

    def consumer(self) -> ConsumerSettings:
        """The bus's consumer settings."""
        return ConsumerSettings(
            batch_size=self.bus_batch_size,
            max_attempts=self.bus_max_attempts,
            inbox_retention=timedelta(days=self.bus_inbox_retention_days) - _CLOCK_SKEW,
            backoff=Backoff(self.bus_first_retry_delay_seconds, self.bus_max_retry_delay_seconds),
        )

    def relay(self) -> RelaySettings:
        """The bus's relay settings."""
        return RelaySettings(
            batch_size=self.bus_publish_batch_size,
            poll_seconds=self.bus_poll_interval_seconds,
            lease_seconds=self.bus_lease_seconds,
        )

    def retention(self) -> RetentionSettings:
        """The bus's retention settings."""
        return RetentionSettings(self.bus_published_retention_days, self.bus_inbox_retention_days)
