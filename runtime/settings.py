"""Settings from the environment. Each service has its own prefix, so that all fit one machine."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from eventbus import ConsumerSettings, RelaySettings
from eventbus.ack_policy import Backoff
from eventbus.jetstream import JetStream, check_address
from eventbus.retention import RetentionSettings

_CLOCKS_DIFFER = timedelta(days=1)


class CallSettings(BaseSettings):
    """What every process is told that answers calls and makes some."""

    auth_keys: Path = Field(description="JWK set: whose tokens are believed, read when it changes")
    auth_signing_key: Path = Field(description="JWK: this process's own private key")
    tls_roots: Path | None = Field(None, description="PEM file of whom to trust in calls we make")


class ServiceSettings(CallSettings):
    """What every service is told. Durations are seconds."""

    model_config = SettingsConfigDict(extra="ignore")

    database_url: SecretStr = Field(description="postgresql+asyncpg://… of the runtime role")
    database_pool_size: int = Field(10, ge=2, le=100)
    nats_url: str = Field(description="nats://host:port, several separated by commas")
    nats_user: str
    nats_password: SecretStr
    listen: str = Field(description="host:port of the gRPC server; port 0 takes a free one")
    tls_certificate: Path | None = Field(None, description="PEM file; with it, calls are by TLS")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key")
    call_seconds: float = Field(30.0, gt=0, description="most that a call may take")
    failed_validations_per_caller: int = Field(20, ge=1, description="failed validations a minute")
    failed_validations_per_peer: int = Field(60, ge=1, description="the same, by address")
    failed_validations_per_storefront: int = Field(
        600, ge=1, description="the same of a storefront or operator"
    )

    def failed_validation_limits(self) -> tuple[int, int, int]:
        """Limits per minute: per caller, per peer, per storefront."""
        return (
            self.failed_validations_per_caller,
            self.failed_validations_per_peer,
            self.failed_validations_per_storefront,
        )

    metrics_listen: str = Field(
        "", pattern=r"^$|:\d+$", description="host:port for Prometheus; empty for none"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    start_seconds: float = Field(60.0, gt=0, description="how long to wait for the database")
    grace_seconds: float = Field(10.0, ge=0, description="how long calls may take to finish")
    max_concurrent_calls: int = Field(1000, ge=1)

    bus_batch_size: int = Field(200, ge=1, le=1000, description="events per fetch")
    bus_publish_batch_size: int = Field(500, ge=1, le=1000, description="events per publish")
    bus_max_attempts: int = Field(8, ge=1, description="tries before an event is a dead letter")
    bus_first_delay: float = Field(0.5, gt=0, description="before the second try; then doubling")
    bus_max_delay: float = Field(60.0, gt=0)
    bus_poll_interval: float = Field(0.5, gt=0, description="outbox polling when nothing wakes it")
    bus_lease_seconds: float = Field(5.0, gt=1, description="a killed relay's lease lasts so long")
    bus_published_days: int = Field(7, ge=1, description="how long published events are kept")
    bus_check_seconds: float = Field(300.0, gt=0, description="how often streams are compared")
    bus_check_repair: bool = Field(True, description="whether what is missing is mended then")
    bus_inbox_days: int = Field(30, ge=2, description="how long inbox marks are kept")

    @field_validator("nats_url")
    @classmethod
    def _is_a_broker(cls, url: str) -> str:
        check_address(url)
        return url

    @model_validator(mode="after")
    def _marks_outlive_events(self) -> Self:
        # Whatever is published again has to find its mark, or takes effect again.
        if self.bus_inbox_days <= self.bus_published_days:
            raise ValueError("bus_inbox_days must be more than bus_published_days")
        return self

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together")
        return self

    def create_broker(self, name: str) -> JetStream:
        """A connection to the broker as the service's own user, not opened yet."""
        password = self.nats_password.get_secret_value()
        return JetStream(self.nats_url, self.nats_user, password, name)

    def consumer(self) -> ConsumerSettings:
        """The bus's consumer settings."""
        return ConsumerSettings(
            batch_size=self.bus_batch_size,
            max_attempts=self.bus_max_attempts,
            inbox_retention=timedelta(days=self.bus_inbox_days) - _CLOCKS_DIFFER,
            backoff=Backoff(self.bus_first_delay, self.bus_max_delay),
        )

    def relay(self) -> RelaySettings:
        """The bus's relay settings."""
        return RelaySettings(
            batch_size=self.bus_publish_batch_size,
            poll_seconds=self.bus_poll_interval,
            lease_seconds=self.bus_lease_seconds,
        )

    def retention(self) -> RetentionSettings:
        """The bus's retention settings."""
        return RetentionSettings(self.bus_published_days, self.bus_inbox_days)


Settings = TypeVar("Settings", bound=BaseSettings)


def read(settings: type[Settings]) -> Settings:
    """Reads settings from the environment; exits with status 2 and a line per fault."""
    try:
        return settings()
    except ValidationError as error:
        prefix = str(settings.model_config.get("env_prefix", ""))
        for fault in error.errors():
            name = prefix + "_".join(str(part) for part in fault["loc"]).upper()
            sys.stderr.write(f"setting {name}: {fault['msg']}\n")
        raise SystemExit(2) from None
