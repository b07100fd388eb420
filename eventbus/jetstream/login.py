"""Where the broker is and how to log in: one form for all programs, checked before they connect.

The address is `nats://host:port`, several separated by commas; it may contain user and password.
`tls://`, roots and a client certificate demand TLS.
"""

import base64
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from eventbus.jetstream.nkeys import find_key, public_key
from eventbus.variable_files import VariableFilesUnreadable, with_files

_DEFAULT_PORT = 4222
_TLS_SCHEME = "tls"
_SCHEMES = frozenset({"nats", _TLS_SCHEME})
# A credentials file has the seed of the user's key, and a token of the user before it where the
# servers learn of users by tokens.
_TOKEN = re.compile(r"BEGIN NATS USER JWT-+\s+(\S+)\s+-+END")

_FILES = ("credentials", "tls_roots", "tls_certificate", "tls_key")
VARIABLES = tuple(f"NATS_{name.upper()}" for name in ("url", "user", "password", *_FILES))
"""What `BrokerLogin.from_environment` reads."""


class InvalidBrokerLogin(ValueError):
    """An address or a file cannot be used; the message contains no secret.

    Attributes:
        arguments: Those of `BrokerLogin.parse` that cannot be used, or not together.
    """

    def __init__(self, problem: str, *arguments: str) -> None:
        super().__init__(problem)
        self.arguments = arguments or ("url",)


@dataclass(frozen=True)
class BrokerLogin:
    """Servers without user and password, and what to log in with. Create it by `parse`."""

    servers: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    credentials: Path | None = None
    tls_roots: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @classmethod
    def parse(
        cls,
        url: str,
        user: str = "",
        password: str = "",
        credentials: Path | None = None,
        tls_roots: Path | None = None,
        tls_certificate: Path | None = None,
        tls_key: Path | None = None,
    ) -> Self:
        """Reads an address; a given user or password counts instead of that in the address.

        A user in the address without password, also none given, is a token. `credentials` is a file
        with a key, and a token or none, which replaces user and password. Raises
        InvalidBrokerLogin, also for files that cannot be used.
        """
        parts = _split_servers(url)
        tls = any(part.scheme == _TLS_SCHEME for part in parts) or tls_roots or tls_certificate
        user, password = ("", "") if credentials else _user_and_password(parts, user, password)
        servers = tuple(_server(part, _TLS_SCHEME if tls else part.scheme) for part in parts)
        login = cls(servers, user, password, credentials, tls_roots, tls_certificate, tls_key)
        login.connect_options()  # reads all files
        return login

    @staticmethod
    def check_address(url: str) -> None:
        """Raises InvalidBrokerLogin if the servers' addresses are not of the right form."""
        _split_servers(url)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Reads VARIABLES, or files that `NATS_…_FILE` name; raises KeyError without NATS_URL."""
        try:
            environ = with_files(VARIABLES, environ)
        except VariableFilesUnreadable as error:
            fault = error.faults[0]
            name = fault.variable.removeprefix("NATS_").lower()
            raise InvalidBrokerLogin(fault.problem, name) from None
        given = {name: Path(path) for name in _FILES if (path := _variable(environ, name))}
        user, password = _variable(environ, "user"), _variable(environ, "password")
        return cls.parse(environ["NATS_URL"], user, password, **given)

    @property
    def address(self) -> str:
        """The servers, separated by commas, without user and password."""
        return ",".join(self.servers)

    @property
    def url(self) -> str:
        """The servers with user and password: one setting for programs that take it as one."""
        login = quote(self.user, safe="")
        if self.password:
            login += f":{quote(self.password, safe='')}"
        if not login:
            return self.address
        return ",".join(server.replace("://", f"://{login}@", 1) for server in self.servers)

    def connect_options(self) -> dict[str, Any]:
        """Options of `ReconnectingClient.connect`.

        Raises InvalidBrokerLogin if a file is unusable.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InvalidBrokerLogin(
                "a client certificate and its key must be given together",
                *("tls_certificate", "tls_key"),
            )
        options: dict[str, Any] = {"servers": list(self.servers)}
        if self.credentials:
            token, _ = _read_credentials(self.credentials)
            options["signature_cb"] = _signer(self.credentials)
            if token:
                options["user_jwt_cb"] = _token_reader(self.credentials)
            else:
                options["user_key"] = _key_reader(self.credentials)
        elif self.user and not self.password:
            options["token"] = self.user  # as in nats://token@host
        else:
            options |= {"user": self.user, "password": self.password}
        if self.servers[0].startswith(_TLS_SCHEME):
            options["tls"] = self._tls_context()
        return options

    def _tls_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.tls_roots)
        except (OSError, ValueError) as error:
            problem = f"{self.tls_roots} cannot be read: {error}"
            raise InvalidBrokerLogin(problem, "tls_roots") from None
        if self.tls_certificate:
            try:
                context.load_cert_chain(self.tls_certificate, self.tls_key)
            except (OSError, ValueError) as error:
                problem = f"{self.tls_certificate} or {self.tls_key} cannot be read: {error}"
                raise InvalidBrokerLogin(problem, "tls_certificate", "tls_key") from None
        return context


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(f"NATS_{name.upper()}", "")


def _user_and_password(parts: Sequence[SplitResult], user: str, password: str) -> tuple[str, str]:
    """What to log in with; a user without password is a token. Raises InvalidBrokerLogin."""
    in_url = next((part for part in parts if part.username), None)
    is_token = not user and in_url is not None and in_url.password is None
    if in_url is not None and not user:
        user, password = unquote(in_url.username or ""), password or unquote(in_url.password or "")
    if user and not password and not is_token:
        raise InvalidBrokerLogin("a user is given without a password", "user", "password")
    if password and not user:
        raise InvalidBrokerLogin("a password is given without a user", "user", "password")
    return user, password


def _split_servers(url: str) -> list[SplitResult]:
    return [_split(server.strip(), url, n) for n, server in enumerate(url.split(","), 1)]


def _split(server: str, url: str, number: int) -> SplitResult:
    name = f"address {number}" if "," in url else "it"
    try:
        parts = urlsplit(server if "://" in server else f"nats://{server}")
        host, port = parts.hostname, parts.port
        _check_host(host or "")
    except ValueError:  # also UnicodeError
        raise InvalidBrokerLogin(f"{name} has an invalid host or port") from None
    if parts.scheme not in _SCHEMES:
        raise InvalidBrokerLogin(f"{name} does not begin with nats:// or tls://")
    if not host or port == 0 or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise InvalidBrokerLogin(f"{name} is not of the form nats://host:port")
    if parts.password is not None and not parts.username:
        raise InvalidBrokerLogin(f"{name} has a password without a user")
    return parts


def _check_host(host: str) -> None:
    """Raises ValueError for a name that cannot be looked up: connecting would be tried for ever."""
    if not host.isprintable() or " " in host:
        raise ValueError("it has a blank or control character")
    host.encode("idna")  # as Python does when it looks the name up


def _server(parts: SplitResult, scheme: str) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{scheme}://{host}:{parts.port or _DEFAULT_PORT}"


def _read_credentials(file: Path) -> tuple[str, Ed25519PrivateKey]:
    """Token, or "", and key of a credentials file; raises InvalidBrokerLogin."""
    try:
        text = file.read_text("ascii")
    except (OSError, ValueError) as error:
        raise InvalidBrokerLogin(f"{file} cannot be read: {error}", "credentials") from None
    try:
        key = find_key(text)
    except ValueError:
        raise InvalidBrokerLogin(f"the seed in {file} is not one of a key", "credentials") from None
    if key is None:
        problem = f"{file} does not contain the seed of a user's key"
        raise InvalidBrokerLogin(problem, "credentials")
    token = _TOKEN.search(text)
    return token[1] if token else "", key


def _token_reader(file: Path) -> Callable[[], bytes]:
    """Reads the file at each connect: tokens expire and are renewed in it."""

    def read_token() -> bytes:
        return _read_credentials(file)[0].encode()

    return read_token


def _key_reader(file: Path) -> Callable[[], str]:
    """Reads the file at each connect, as the signer does: keys are replaced in it."""
    return lambda: public_key(_read_credentials(file)[1])


def _signer(file: Path) -> Callable[[str], bytes]:
    return lambda nonce: base64.b64encode(_read_credentials(file)[1].sign(nonce.encode()))
