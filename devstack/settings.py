"""Settings of a stack."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Self

from devstack.errors import InvalidSetting
from eventbus.jetstream import BrokerLogin, InvalidBrokerLogin
from eventbus.unknown_variables import unknown_variables, warning_about
from runtime.database_url import DatabaseUrl, InvalidDatabaseUrl

DEFAULT_PORTS: Mapping[str, int] = MappingProxyType(
    {
        "payment": 50051,
        "interview": 50052,
        "notification": 50053,
        "provider": 50054,
        "payment_internal": 50055,
        "postgres": 54320,
        "nats": 4222,
        "mailbox": 2525,
    }
)
_PORT_VARIABLES = {name: f"DEVSTACK_{name.upper()}_PORT" for name in DEFAULT_PORTS} | {
    "mailbox": "DEVSTACK_SMTP_PORT"
}
_MAX_PORT = 65535


@dataclass(frozen=True)
class Settings:
    """Ports, external servers and overrides.

    Attributes:
        ports: Preferred port per component, and of payment's internal server; a free port is used
            if it is 0 or taken.
        environment: Additional environment variables per component.
        fsync: False lets PostgreSQL lose data in a power failure; for temporary stacks only.
        postgres_url: Superuser's URL of a PostgreSQL server to use instead of the embedded one.
        nats: Address and administrator's login of a NATS server to use instead of the embedded
            one. All services then log in as that user, so NATS does not isolate them.
        topology: File that declares streams and consumers; None for deploy/nats/topology.toml.
        start_seconds: Time limit for a process to become ready.
    """

    ports: Mapping[str, int] = field(default_factory=lambda: DEFAULT_PORTS)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fsync: bool = True
    postgres_url: DatabaseUrl | None = None
    nats: BrokerLogin | None = None
    topology: Path | None = None
    start_seconds: float = 60.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads DEVSTACK_<COMPONENT>_PORT, DEVSTACK_POSTGRES_URL and DEVSTACK_NATS_URL.

        Raises InvalidSetting.
        """
        ports = {
            name: _port(variable, environ.get(variable) or str(DEFAULT_PORTS[name]))
            for name, variable in _PORT_VARIABLES.items()
        }
        return cls(
            ports=ports,
            postgres_url=_postgres_url(environ.get("DEVSTACK_POSTGRES_URL", "")),
            nats=_nats_login(environ.get("DEVSTACK_NATS_URL", "")),
        )

    @staticmethod
    def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
        """A line about each variable that begins like a setting and is none."""
        known = (*_PORT_VARIABLES.values(), "DEVSTACK_POSTGRES_URL", "DEVSTACK_NATS_URL")
        return [warning_about(*found) for found in unknown_variables("DEVSTACK_", known, environ)]

    @classmethod
    def on_free_ports(cls) -> Self:
        """Any free ports and the embedded servers, for tests that run in parallel."""
        return replace(cls(), ports=dict.fromkeys(DEFAULT_PORTS, 0))


def _port(variable: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_PORT):
        raise InvalidSetting(variable, f"{text!r} is not a number from 0 to {_MAX_PORT}")
    return int(text)


def _postgres_url(text: str) -> DatabaseUrl | None:
    try:
        return DatabaseUrl.parse(text) if text else None
    except InvalidDatabaseUrl as error:
        raise InvalidSetting("DEVSTACK_POSTGRES_URL", str(error)) from None


def _nats_login(text: str) -> BrokerLogin | None:
    try:
        return BrokerLogin.parse(text) if text else None
    except InvalidBrokerLogin as error:
        raise InvalidSetting("DEVSTACK_NATS_URL", str(error)) from None
