"""A broker's address: `nats://host:port`, several separated by commas.

It may contain credentials: logs and errors show only the form `without_credentials`.
"""

from urllib.parse import urlsplit

_SCHEMES = frozenset({"nats", "tls", "ws", "wss"})


class InvalidAddress(ValueError):
    """A broker address is invalid; the message does not repeat it."""


def check_address(url: str) -> None:
    """Raises InvalidAddress for an address that no connection can be made to."""
    for number, server in enumerate(url.split(","), start=1):
        name = f"address {number}" if "," in url else "it"
        try:
            parts = urlsplit(server if "://" in server else f"nats://{server}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise InvalidAddress(f"{name} has an invalid host or port") from None
        if parts.scheme not in _SCHEMES:
            raise InvalidAddress(f"{name} does not begin with nats:// or tls://")
        if not host or port == 0:
            raise InvalidAddress(f"{name} is not of the form nats://host:port")


def without_credentials(url: str) -> str:
    """The address without user and password."""
    return ",".join(_without_user(server) for server in url.split(","))


def _without_user(server: str) -> str:
    scheme, separator, rest = server.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
