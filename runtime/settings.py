"""Settings from the environment; each service has its own prefix."""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import structlog
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Json,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from eventbus import ConsumerSettings, RelaySettings
from eventbus.backoff import Backoff
from eventbus.jetstream import BrokerLogin, InvalidBrokerLogin, JetStream
from eventbus.retention import RetentionSettings
from eventbus.unknown_variables import unknown_variables
from runtime.addresses import ListenAddress, MetricsAddress, OptionalListenAddress
from runtime.auth.identity_providers import IdentityProvider
from runtime.database_url import DatabaseUrl
from runtime.setting_faults import describe

_CLOCK_SKEW = timedelta(days=1)
_log = structlog.get_logger(__name__)
Given = TypeVar("Given", str, SecretStr)


def _not_blank(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("it must not be empty or blank")
    return secret


RequiredSecret = Annotated[SecretStr, AfterValidator(_not_blank)]
# An empty variable is the same as none.
OptionalFile = Annotated[Path | None, BeforeValidator(lambda path: path or None)]
JsonProviders = Annotated[
    Json[tuple[IdentityProvider, ...]], BeforeValidator(lambda text: text or "[]")
]


class CallSettings(BaseSettings):
    """Settings of every process that accepts and makes calls."""

    auth_keys: Path = Field(
        description="key ring: JWK set of trusted issuers; reloaded when it changes"
    )
    auth_signing_key: Path = Field(description="JWK: the private key of this process")
    listen: ListenAddress = Field(
        description="host:port of the gRPC server; port 0 takes a free one"
    )
    tls_certificate: OptionalFile = Field(
        None, description="PEM file of the server's certificate; none: without TLS"
    )
    tls_key: OptionalFile = Field(None, description="PEM file of the certificate's private key")
    tls_roots: OptionalFile = Field(
        None,
        description="PEM file of the roots to trust in calls to services of the platform; none:"
        " without TLS",
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key must be set together")
        return self


class ServiceSettings(CallSettings):
    """Settings of every service. Durations are seconds unless the name ends in another unit."""

    model_config = SettingsConfigDict(extra="ignore")

    auth_issuers: JsonProviders = Field(
        (),
        validate_default=False,
        description="trusted identity providers: a JSON list of objects with `issuer`, `jwks` and"
        " `roles`; see SECURITY.md",
    )
    auth_max_token_lifetime_seconds: float = Field(
        86400.0,
        ge=300,
        description="tokens that expire later than this from now are refused; those that services"
        " sign for themselves live 300 s",
    )
    internal_listen: OptionalListenAddress = Field(
        "",
        description="host:port of a second gRPC server for services, operators and probes: calls to"
        " LISTEN, however many, take no capacity of its queue; empty: none",
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="processes of this service on the same address, one per core at most",
    )
    reuse_port: bool = Field(
        False, description="whether other processes may listen on the same address"
    )
    database_url: SecretStr = Field(
        description="postgresql://user:password@host/name with the runtime role; sslmode and other"
        " parameters of libpq are understood"
    )
    database_pool_size: int = Field(10, ge=2, le=100, description="maximum of open connections")
    nats_url: str = Field(
        description="nats://host:port, or tls://host:port; several are separated by commas"
    )
    nats_credentials: OptionalFile = Field(
        None, description="file with a NATS user's token and key, instead of user and password"
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
    max_call_seconds: float = Field(
        30.0, gt=0, description="limit of a call's duration, also without a client deadline"
    )
    max_concurrent_calls: int = Field(
        1000,
        ge=1,
        description="calls in progress at most; one caller may have as many as are free",
    )
    failed_validations_per_caller: int = Field(
        20, ge=1, description="failed code validations per minute of one customer"
    )
    failed_validations_per_peer: int = Field(
        60, ge=1, description="failed code validations per minute from one address"
    )
    failed_validations_per_storefront: int = Field(
        600, ge=1, description="failed code validations per minute of one storefront or operator"
    )
    metrics_listen: MetricsAddress = Field(
        "",
        description="host:port for Prometheus; of several processes, each has the next port; empty:"
        " no metrics",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="lowest level that is logged"
    )
    log_format: Literal["json", "console"] = Field("json", description="format of a log line")
    startup_timeout_seconds: float = Field(
        60.0, gt=0, description="how long a start waits for the database"
    )
    shutdown_grace_seconds: float = Field(
        10.0, ge=0, description="how long calls in flight may take to finish"
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
        7, ge=1, description="how many days published events are kept for requeueing"
    )
    bus_inbox_retention_days: int = Field(
        30, ge=2, description="how many days inbox marks are kept"
    )
    bus_reconciliation_interval_seconds: float = Field(
        300.0, gt=0, description="interval of the comparison of outbox, streams and inboxes"
    )
    bus_reconciliation_repair: bool = Field(
        True, description="whether missing events are published or handled again"
    )
    full_check_hour: int = Field(
        3,
        ge=0,
        le=23,
        description="hour of the day (UTC) after which the periodic checks compare everything once;"
        " otherwise they compare what has changed",
    )

    def max_token_lifetime(self) -> timedelta:
        """The longest time until the expiry of a token."""
        return timedelta(seconds=self.auth_max_token_lifetime_seconds)

    def failed_validation_limits(self) -> tuple[int, int, int]:
        """Limits per minute: per caller, per peer, per storefront."""
        return (
            self.failed_validations_per_caller,
            self.failed_validations_per_peer,
            self.failed_validations_per_storefront,
        )

    @field_validator("processes")
    @classmethod
    def _check_processes(cls, processes: int, info: ValidationInfo) -> int:
        addresses = str(info.data.get("listen", "")), str(info.data.get("internal_listen", ""))
        if processes > 1 and any(address.endswith(":0") for address in addresses):
            raise ValueError("several processes cannot share an address with port 0")
        return processes

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: SecretStr) -> SecretStr:
        DatabaseUrl.parse(url.get_secret_value())
        return url

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


Settings = TypeVar("Settings", bound=BaseSettings)
# Read by the migration command, which has the service's prefix.
_OF_COMMANDS = ("OWNER_DATABASE_URL",)


def read(settings: type[Settings]) -> Settings:
    """Reads settings from the environment; exits with status 2 and one line per error."""
    try:
        return settings()
    except ValidationError as error:
        lines = [f"setting {describe(settings, fault)}\n" for fault in error.errors()]
        sys.stderr.write("".join(lines))
        raise SystemExit(2) from None


def warn_of_unknown_variables(settings: type[BaseSettings]) -> None:
    """Logs a warning for each environment variable that begins like a setting and is none."""
    prefix = str(settings.model_config.get("env_prefix", ""))
    names = (*(field.upper() for field in settings.model_fields), *_OF_COMMANDS)
    known = [f"{prefix}{name}" for name in names]
    for name, suggestion in unknown_variables(prefix, known, os.environ):
        _log.warning("unknown setting", variable=name, did_you_mean=suggestion or None)
