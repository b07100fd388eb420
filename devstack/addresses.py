"""Addresses and credentials of a stack's components."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from clients import Clients, Service, open_channel
from devstack.keys import Keys
from devstack.servers.nats_server import USERS
from devstack.servers.postgres import DATABASE, ROLES, SERVICES, SUPERUSER, Server
from devstack.settings import Settings
from devstack.supervision.ports import LOOPBACK, Port
from eventbus.jetstream import BrokerLogin
from runtime.auth.authentication import Role
from runtime.database_url import DatabaseUrl
from runtime.files import write_private

SECRETS = ("postgres", "provider", *ROLES, *(f"nats_{user}" for user in USERS))

# The port of payment's server for other services.
PAYMENT_INTERNAL = "payment_internal"
_CALL_SECONDS = 60.0  # longer than a service takes at most for a call


class Addresses:
    """Addresses, URLs and credentials, available once the stack has started."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory.resolve()
        self.settings = settings
        self.keys = Keys(self.directory)
        self._ports: Mapping[str, Port] = {}
        self._secrets: Mapping[str, str] = {}

    def address(self, component: str) -> str:
        """`host:port` of a component, or of PAYMENT_INTERNAL."""
        return self._ports[component].address

    def port(self, component: str) -> int:
        return self._ports[component].number

    def connect(self, token: str = "") -> Clients:
        """Clients of the services; without a token, as a storefront that may also operate.

        Calls are not retried: the demo and the tests see each reply of a service.
        """
        token = token or self.keys.token("devstack", Role.STOREFRONT, Role.OPERATOR)
        return Clients(
            {
                service: open_channel(
                    self.address(service),
                    name=service,
                    token=token,
                    tls_roots=self.tls_roots(service),
                    timeout=_CALL_SECONDS,
                    retry=False,
                )
                for service in Service
            }
        )

    def tls_roots(self, component: str) -> Path | None:
        """The certificate of a component that serves TLS by its environment; else None.

        The certificate itself is trusted; it has to be valid for 127.0.0.1.
        """
        environment = {**os.environ, **self.settings.environment.get(component, {})}
        certificate = environment.get(f"{component.upper()}_TLS_CERTIFICATE")
        return Path(certificate) if certificate else None

    def write_addresses(self) -> None:
        """Writes addresses.json for opsctl; its NATS user is `trace`, which publishes no events."""
        addresses = {name: self.address(name) for name in SERVICES}
        addresses["payment"] = self.address(PAYMENT_INTERNAL)
        addresses["nats"] = self.nats_login("trace").url
        write_private(self.directory / "addresses.json", json.dumps(addresses, indent=2))

    def log(self, name: str) -> Path:
        """The log file of a component, or of a one-time step such as `migrate-payment`."""
        return self.directory / "logs" / f"{name}.log"

    @property
    def mail_dir(self) -> Path:
        """The directory with one `.eml` file per accepted mail."""
        return self.directory / "mail"

    @property
    def smtp_host(self) -> str:
        return LOOPBACK

    @property
    def smtp_port(self) -> int:
        return self.port("mailbox")

    @property
    def provider_secret(self) -> str:
        """The secret with which the sandbox provider signs its webhooks."""
        return self._secrets["provider"]

    @property
    def postgres_server(self) -> Server:
        """Address and superuser credentials of the database server."""
        if self.settings.postgres_url:
            return Server(self.settings.postgres_url)
        url = DatabaseUrl("", f"{LOOPBACK}:{self.port('postgres')}", "postgres", {})
        return Server(url.with_login(SUPERUSER, self._secrets["postgres"]))

    @property
    def superuser_url(self) -> str:
        """SQLAlchemy URL for the superuser."""
        return _sqlalchemy_url(self.postgres_server.url)

    def database_url(self, role: str) -> str:
        """SQLAlchemy URL for one of the roles, such as `payment_runtime`."""
        return _sqlalchemy_url(self.postgres_server.url.with_login(role, self._secrets[role]))

    @property
    def nats_url(self) -> str:
        """`nats://host:port`, without credentials; several are separated by commas."""
        return self.nats_login("admin").address

    def nats_login(self, user: str) -> BrokerLogin:
        """Address and credentials for admin, payment, interview, notification or trace."""
        if self.settings.nats:
            return self.settings.nats
        url = f"nats://{LOOPBACK}:{self.port('nats')}"
        return BrokerLogin.parse(url, user, self.nats_passwords[user])

    @property
    def nats_passwords(self) -> dict[str, str]:
        return {user: self._secrets[f"nats_{user}"] for user in USERS}

    @property
    def role_passwords(self) -> dict[str, str]:
        return {role: self._secrets[role] for role in ROLES}


def _sqlalchemy_url(server: DatabaseUrl) -> str:
    return f"postgresql+asyncpg{str(server.with_database(DATABASE)).removeprefix('postgresql')}"
