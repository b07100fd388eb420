"""The system that commands work on: from options, the environment, or a devstack's files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clients import Clients, Service, connect
from eventbus.jetstream import BrokerLogin, InvalidBrokerLogin
from opsctl.errors import UserError, WrongArgument
from runtime.addresses import check_target

# A devstack writes these at each start: the address of each service and the URL of NATS, a token.
_ADDRESSES = "addresses.json"
_TOKEN = Path("tokens") / "operator"


@dataclass(frozen=True)
class Target:
    """Addresses and credentials as given; "" or None means: as in the files of a devstack."""

    addresses: Mapping[Service, str]
    token_file: Path | None
    tls_roots: Path | None
    nats: str
    data_dir: Path
    nats_credentials: Path | None = None
    nats_tls_roots: Path | None = None
    nats_tls_certificate: Path | None = None
    nats_tls_key: Path | None = None

    def connect(self) -> Clients:
        """Clients of the services whose addresses are known; raises UserError."""
        addresses = {service: address for service in Service if (address := self.address(service))}
        if not addresses:
            raise UserError(
                "no address of a service is known: give --payment, --interview and --notification"
                " or OPSCTL_PAYMENT and so on, or run in the directory of a devstack"
                f" (there are none in {self.data_dir / _ADDRESSES})"
            )
        for service, address in addresses.items():
            try:
                check_target(address)
            except ValueError as error:
                problem = f"the address of {service}, {address!r}: {error}"
                raise WrongArgument(problem) from None
        token = self.token()
        try:
            return connect(addresses, token=token, tls_roots=self.tls_roots)
        except OSError as error:
            raise UserError(f"the TLS roots cannot be read: {error}") from error

    def address(self, service: Service) -> str:
        """`host:port` of a service; "" if unknown."""
        return self.addresses.get(service) or self._devstack_addresses().get(service, "")

    def broker_login(self) -> BrokerLogin | None:
        """Address of NATS and what to log in with; None if unknown; raises UserError."""
        if not (url := self.nats or self._devstack_addresses().get("nats", "")):
            return None
        try:
            return BrokerLogin.parse(
                url,
                credentials=self.nats_credentials,
                tls_roots=self.nats_tls_roots,
                tls_certificate=self.nats_tls_certificate,
                tls_key=self.nats_tls_key,
            )
        except InvalidBrokerLogin as error:
            problem = f"the address of NATS or its login cannot be used: {error}"
            raise WrongArgument(problem) from error

    def token(self) -> str:
        """The bearer token; raises UserError."""
        path = self.token_file or self.data_dir / _TOKEN
        try:
            token = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            if self.token_file is None and not path.exists():
                raise UserError(
                    "no token: give --token-file or OPSCTL_TOKEN_FILE, or run in the directory of"
                    f" a devstack ({path} does not exist)"
                ) from None
            raise UserError(f"the token in {path} cannot be read: {error}") from error
        if not token or not token.isascii() or not token.isprintable():
            raise UserError(f"{path} contains no token")
        return token

    def _devstack_addresses(self) -> Mapping[str, str]:
        """Addresses by service, and `nats`; empty if the file is missing or damaged."""
        try:
            addresses = json.loads((self.data_dir / _ADDRESSES).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return addresses if isinstance(addresses, dict) else {}
