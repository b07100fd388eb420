"""Where the services are and who asks them: options, environment, or a running devstack's files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from opsctl.errors import Problem


class Service(StrEnum):
    """A service by its name."""

    PAYMENT = "payment"
    INTERVIEW = "interview"
    NOTIFICATION = "notification"


SERVICES = tuple(service.value for service in Service)
# What devstack writes at each start: an address for each service, and the URL of NATS.
_ADDRESSES = "addresses.json"
_TOKEN = Path("tokens") / "operator"


@dataclass(frozen=True)
class Given:
    """What the command line and the environment say; "" and None for what they don't."""

    addresses: Mapping[str, str]
    token_file: Path | None
    tls_roots: Path | None
    nats: str
    data_dir: Path

    def address(self, service: str) -> str:
        """`host:port` of a service, "" if nobody tells."""
        return self.addresses.get(service) or self._written().get(service, "")

    def nats_url(self) -> str:
        """The URL of NATS with user and password, "" if nobody tells."""
        return self.nats or self._written().get("nats", "")

    def token(self) -> str:
        """The bearer token; raises Problem."""
        path = self.token_file or self.data_dir / _TOKEN
        try:
            token = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            if self.token_file is None and not path.exists():
                raise Problem(
                    "no token: name a file by --token-file or OPSCTL_TOKEN_FILE, or run where a"
                    f" devstack keeps its data ({self.data_dir})"
                ) from None
            raise Problem(f"the token in {path} can't be read: {error}") from error
        if not token or not token.isascii() or not token.isprintable():
            raise Problem(f"{path} holds no token")
        return token

    def _written(self) -> Mapping[str, str]:
        try:
            found = json.loads((self.data_dir / _ADDRESSES).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
