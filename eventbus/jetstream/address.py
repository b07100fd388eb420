"""A broker's address: `nats://host:port`, several separated by commas.

It may carry credentials, so that nobody is shown an address as it was given.
"""

from urllib.parse import urlsplit

_SCHEMES = frozenset({"nats", "tls", "ws", "wss"})


class NoAddress(ValueError):
    """What was given is no address; the message doesn't repeat it."""


def check(url: str) -> None:
    """Raises NoAddress for what could never be connected to."""
    for number, server in enumerate(url.split(","), start=1):
        which = f"address {number}" if "," in url else "it"
        try:
            parts = urlsplit(server if "://" in server else f"nats://{server}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise NoAddress(f"{which} has a host or a port that is none") from None
        if parts.scheme not in _SCHEMES:
            raise NoAddress(f"{which} doesn't begin with nats:// or tls://")
        if not host or port == 0:
            raise NoAddress(f"{which} is not of the form nats://host:port")


def without_credentials(url: str) -> str:
    """The same address to be shown: without user and password."""
    return ",".join(map(_shown, url.split(",")))


def _shown(server: str) -> str:
    scheme, separator, rest = server.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
