"""Settings from the environment; each service has its own prefix."""

import os
import sys
from datetime import timedelta
from typing import Literal, Self, TypeVar

import structlog
from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from eventbus.unknown_variables import unknown_variables
from eventbus.variable_files import SUFFIX, VariableFilesUnreadable
from runtime.addresses import (
    MAX_PORT,
    ListenAddress,
    MetricsAddress,
    OptionalListenAddress,
    metrics_port,
)
from runtime.bus_settings import BusSettings
from runtime.database_url import DatabaseUrl
from runtime.setting_faults import describe
from runtime.setting_files import SettingFiles
from runtime.setting_values import JsonProviders, OptionalFile, RequiredFile

_log = structlog.get_logger(__name__)
MAX_NUMBER = 1_000_000_000  # of seconds, 31 years


class CallSettings(BaseSettings):
    """Settings of every process that accepts and makes calls; each may be given by a file."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, variables, and files that variables name."""
        return init_settings, env_settings, SettingFiles(settings_cls)

    auth_keys: RequiredFile = Field(
        description="key ring: JWK set of trusted issuers; reloaded when it changes"
    )
    auth_signing_key: RequiredFile = Field(description="JWK: the private key of this process")
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

    @field_validator("*")
    @classmethod
    def _check_number(cls, value: object) -> object:
        # Larger ones, and infinity, overflow where times are computed: some only after the start.
        if isinstance(value, int | float) and not value <= MAX_NUMBER:
            raise ValueError(f"it must be at most {MAX_NUMBER}")
        return value

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key must be set together")
        return self


class ServiceSettings(CallSettings, BusSettings):
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
        description="postgresql://user:password@host/name with the runtime role; several hosts are"
        " separated by commas; sslmode and other parameters of libpq are understood"
    )
    database_pooled: bool = Field(
        False,
        description="whether the URL is that of a connection pooler in transaction mode: then no"
        " statement stays prepared",
    )
    database_pool_size: int = Field(10, ge=2, le=100, description="maximum of open connections")
    max_call_seconds: float = Field(
        30.0, gt=0, description="limit of a call's duration, also without a client deadline"
    )
    max_concurrent_calls: int = Field(
        1000,
        ge=1,
        description="calls in progress at most; one caller may have as many as are free",
    )
    max_connection_age_seconds: float = Field(
        300.0,
        ge=1,
        le=86_400,
        description="age at which the server closes a connection, after its calls: new replicas get"
        " calls of old clients then",
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
        description="host:port for Prometheus; of several processes, each has the next port, or"
        " any free one if it is 0; empty: no metrics",
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

    @field_validator("metrics_listen")
    @classmethod
    def _check_metrics_ports(cls, address: str, info: ValidationInfo) -> str:
        """Each process of a group has a port of its own."""
        processes = int(info.data.get("processes", 1))
        last_port = metrics_port(address, processes - 1) if address else 0
        if last_port > MAX_PORT:
            raise ValueError(
                f"{processes} processes have as many ports from this one on, and the last would be"
                f" {last_port}: more than {MAX_PORT}"
            )
        return address

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: SecretStr) -> SecretStr:
        DatabaseUrl.parse(url.get_secret_value())
        return url


Settings = TypeVar("Settings", bound=BaseSettings)
# Read by the migration command, which has the service's prefix.
_OF_COMMANDS = ("OWNER_DATABASE_URL",)


def read(settings: type[Settings]) -> Settings:
    """Reads settings from the environment; exits with status 2 and one line per error."""
    try:
        return settings()
    except ValidationError as error:
        problems = [describe(settings, fault) for fault in error.errors()]
    except VariableFilesUnreadable as error:
        problems = [str(fault) for fault in error.faults]
    sys.stderr.write("".join(f"setting {problem}\n" for problem in problems))
    raise SystemExit(2)


def warn_of_unknown_variables(settings: type[BaseSettings]) -> None:
    """Logs a warning for each environment variable that begins like a setting and is none."""
    prefix = str(settings.model_config.get("env_prefix", ""))
    names = (*(field.upper() for field in settings.model_fields), *_OF_COMMANDS)
    known = [f"{prefix}{name}{suffix}" for suffix in ("", SUFFIX) for name in names]
    for name, suggestion in unknown_variables(prefix, known, os.environ):
        _log.warning("unknown setting", variable=name, did_you_mean=suggestion or None)
