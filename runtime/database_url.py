"""A database URL in the forms that platforms hand out, checked before anything connects.

`postgresql://`, `postgres://` or `postgresql+asyncpg://`, with the parameters of libpq. asyncpg
reads the URL itself; this module refuses what it would misread, and translates what it does not
know.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_SESSION_ATTRIBUTES = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "gsslib": ("gssapi", "sspi"),
    "target_session_attrs": _SESSION_ATTRIBUTES,
}
# asyncpg reads the first ones itself, and sends the others to the server as its settings.
_PASSED_ON = frozenset(
    {
        *("host", "port", "user", "password", "passfile", "sslmode", "sslrootcert", "sslcert"),
        *("sslkey", "sslpassword", "sslcrl", "sslnegotiation", "ssl_min_protocol_version"),
        *("ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib"),
        *("application_name", "options"),
    }
)
# No meaning for this driver: dropped. Of some, only the values that demand nothing.
_WITHOUT_EFFECT: Mapping[str, frozenset[str]] = {
    "fallback_application_name": frozenset(),
    "keepalives": frozenset(),
    "keepalives_idle": frozenset(),
    "keepalives_interval": frozenset(),
    "keepalives_count": frozenset(),
    "sslsni": frozenset(),
    "tcp_user_timeout": frozenset(),
    "channel_binding": frozenset({"disable", "prefer"}),
    "client_encoding": frozenset({"utf8", "utf-8", "auto"}),
    "gssencmode": frozenset({"disable", "prefer"}),
    "load_balance_hosts": frozenset({"disable"}),
    "sslcompression": frozenset({"0"}),
}
_CONNECT_SECONDS = 5.0
_MAX_CONNECT_SECONDS = 2**31 - 1
_MAX_PORT = 65535
_MAX_PORT_DIGITS = 5
_MAX_HOST_CHARACTERS = 253


class InvalidDatabaseUrl(ValueError):
    """A database URL cannot be used; the message does not repeat it, as it may have a password."""


@dataclass(frozen=True)
class DatabaseUrl:
    """A valid URL. `login` and `database` are percent-encoded, `hosts` are separated by commas.

    `parameters` contain none of user, password, host, port and name of the database.
    """

    login: str
    hosts: str
    database: str
    parameters: Mapping[str, str]
    connect_seconds: float = _CONNECT_SECONDS

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads a URL; raises InvalidDatabaseUrl, also if a file that it names cannot be read."""
        try:
            parts = urlsplit(url.strip())
            given = parse_qsl(
                parts.query.replace("+", "%2B"),
                keep_blank_values=True,
                strict_parsing=bool(parts.query),
            )
        except ValueError:
            raise InvalidDatabaseUrl("it is not a URL") from None
        if parts.scheme not in _SCHEMES or parts.fragment:
            raise InvalidDatabaseUrl("it is not of the form postgresql://user:password@host/name")
        parameters, connect_seconds = _translated(dict(given))
        login, _, hosts = parts.netloc.rpartition("@")
        login = _login(login, parameters.pop("user", ""), parameters.pop("password", ""))
        database = quote(parameters.pop("dbname", ""), safe="") or parts.path.removeprefix("/")
        if not database:
            raise InvalidDatabaseUrl("it names no database")
        hosts = _hosts(hosts, parameters.pop("host", ""), parameters.pop("port", ""))
        if "\0" in unquote(login + database) or "\0" in "".join(parameters.values()):
            raise InvalidDatabaseUrl("it contains the character NUL")
        _check_choices(parameters)
        _check_tls_files(parameters)
        return cls(login, hosts, database, parameters, connect_seconds)

    @property
    def user(self) -> str:
        """The role that logs in, "" for the driver's default."""
        return unquote(self.login.partition(":")[0])

    @property
    def password(self) -> str:
        """The password, "" if the URL has none."""
        return unquote(self.login.partition(":")[2])

    def __str__(self) -> str:
        """The URL, with password, as asyncpg and libpq read it."""
        return self._url(self.parameters)

    def _url(self, parameters: Mapping[str, str]) -> str:
        query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        login = f"{self.login}@" if self.login else ""
        return f"postgresql://{login}{self.hosts}/{self.database}{query}"

    def with_login(self, user: str, password: str) -> "DatabaseUrl":
        """The same database as another user."""
        return replace(self, login=f"{quote(user, safe='')}:{quote(password, safe='')}")

    def with_database(self, name: str) -> "DatabaseUrl":
        """Another database of the same server."""
        return replace(self, database=quote(name, safe=""))

    def single_hosts(self) -> list["DatabaseUrl"]:
        """A URL for each host, in their order."""
        return [replace(self, hosts=host) for host in self.hosts.split(",")]

    def connect_args(self, application_name: str = "") -> dict[str, Any]:
        """Arguments of `asyncpg.connect`; the name is used if the URL does not have one."""
        parameters = {"application_name": application_name, **self.parameters}
        context = _system_roots(parameters) if parameters.get("sslrootcert") == "system" else None
        if context is not None:
            parameters = {k: v for k, v in parameters.items() if not k.startswith("ssl")}
        named = {name: value for name, value in parameters.items() if value}
        return {"dsn": self._url(named), "timeout": self.connect_seconds} | (
            {"ssl": context} if context else {}
        )


def _translated(given: Mapping[str, str]) -> tuple[dict[str, str], float]:
    """The parameters for asyncpg, and the time limit of connecting; raises InvalidDatabaseUrl."""
    parameters, seconds = {}, _CONNECT_SECONDS
    for name, value in given.items():
        match name:
            case "connect_timeout":
                seconds = _seconds(value)
            case "ssl":  # of SQLAlchemy, and of JDBC
                parameters["sslmode"] = {"true": "require", "false": "disable"}.get(value, value)
            case "database" | "dbname":
                parameters["dbname"] = value
            case _ if name in _PASSED_ON:
                parameters[name] = value
            case _ if name in _WITHOUT_EFFECT:
                if (allowed := _WITHOUT_EFFECT[name]) and value.lower() not in allowed:
                    raise InvalidDatabaseUrl(f"{name}={value} is not supported by the driver")
            case _:
                raise InvalidDatabaseUrl(f"its parameter {name!r} is unknown")
    return parameters, seconds


def _seconds(text: str) -> float:
    """A connect_timeout; 0 and less stand for the default, as no connect may take for ever."""
    try:
        seconds = int(text)
    except ValueError:
        raise InvalidDatabaseUrl("its connect_timeout is not a number of seconds") from None
    return float(min(seconds, _MAX_CONNECT_SECONDS)) if seconds > 0 else _CONNECT_SECONDS


def _login(login: str, user: str, password: str) -> str:
    """`user:password`, percent-encoded; as in libpq, parameters replace what is before the `@`."""
    url_user, _, url_password = login.replace("@", "%40").partition(":")
    user, password = quote(user, safe="") or url_user, quote(password, safe="") or url_password
    return f"{user}:{password}" if password else user


def _hosts(hosts: str, other_hosts: str, other_ports: str) -> str:
    """Hosts with ports, as asyncpg reads them before the path; raises InvalidDatabaseUrl.

    As in libpq, the parameters `host` and `port` replace what is before the path, each on its own.
    asyncpg ignores them there, and would take a colon in `host` for the beginning of a port.
    """
    given = [_split_port(host) for host in hosts.split(",")] if hosts else []
    names = other_hosts.split(",") if other_hosts else [name for name, _ in given]
    ports = other_ports.split(",") if other_ports else [port for _, port in given] or [""]
    if not names:
        raise InvalidDatabaseUrl("it names no host")
    if len(ports) not in {1, len(names)}:
        raise InvalidDatabaseUrl("it has neither one port nor as many ports as hosts")
    if len(ports) == 1:
        ports *= len(names)
    for name, port in zip(names, ports, strict=True):
        _check_host(name)
        _check_port(port)
    quoted = [
        f"[{quote(n, safe=':')}]" if ":" in n and n[0] != "/" else quote(n, safe="") for n in names
    ]
    return ",".join(
        f"{name}:{port}" if port else name for name, port in zip(quoted, ports, strict=True)
    )


def _split_port(host: str) -> tuple[str, str]:
    """Name and port, decoded; "" for no port."""
    address, bracket, rest = host.rpartition("]")
    name, _, port = rest.partition(":")
    if not bracket:
        return unquote(name), unquote(port)
    if name or not address.startswith("["):
        raise InvalidDatabaseUrl("it is not a URL")
    return unquote(address[1:]), unquote(port)


def _check_host(name: str) -> None:
    """Finds names that Python cannot look up: they raise other errors than those of networks."""
    usable = name.isprintable() and " " not in name
    if usable and not name.startswith("/"):
        try:
            encoded = str(IPv6Address(name)) if ":" in name else name.encode("idna")
            usable = 0 < len(encoded) <= _MAX_HOST_CHARACTERS
        except ValueError:  # also UnicodeError
            usable = False
    if not usable:
        raise InvalidDatabaseUrl("one of its hosts is empty, too long or not the name of a host")


def _check_port(port: str) -> None:
    digits = port.isascii() and port.isdigit() and len(port) <= _MAX_PORT_DIGITS
    if port and not (digits and 0 < int(port) <= _MAX_PORT):
        raise InvalidDatabaseUrl(f"its port is not a number from 1 to {_MAX_PORT}")


def _check_choices(parameters: Mapping[str, str]) -> None:
    for name, choices in _CHOICES.items():
        if parameters.get(name, choices[0]) not in choices:
            raise InvalidDatabaseUrl(f"its {name} is none of {', '.join(choices)}")
    lowest = parameters.get("ssl_min_protocol_version", _TLS_VERSIONS[0])
    if lowest > parameters.get("ssl_max_protocol_version", _TLS_VERSIONS[-1]):
        raise InvalidDatabaseUrl("ssl_min_protocol_version is above ssl_max_protocol_version")
    mode = parameters.get("sslmode", "prefer")
    encrypted = mode == "require" or mode.startswith("verify-")
    if parameters.get("sslnegotiation") == "direct" and not encrypted:
        raise InvalidDatabaseUrl("sslnegotiation=direct requires sslmode=require or verify-…")


def _check_tls_files(parameters: Mapping[str, str]) -> None:
    """Reads the files once: errors are found at the start, and not when a connection is made."""
    roots, mode = parameters.get("sslrootcert"), parameters.get("sslmode", "prefer")
    if mode.startswith("verify-") and not roots:
        raise InvalidDatabaseUrl(f"sslmode={mode} requires sslrootcert, a PEM file or `system`")
    if roots == "system" and mode != "verify-full":
        raise InvalidDatabaseUrl("sslrootcert=system requires sslmode=verify-full")
    context = ssl.create_default_context()
    if roots and roots != "system":
        _load("sslrootcert", lambda: context.load_verify_locations(roots))
    if revoked := parameters.get("sslcrl"):
        _load("sslcrl", lambda: context.load_verify_locations(revoked))
    _load_certificate(context, parameters)


def _system_roots(parameters: Mapping[str, str]) -> ssl.SSLContext:
    """Verifies certificate and host name by the roots of the system, which asyncpg cannot."""
    context = ssl.create_default_context()
    _load_certificate(context, parameters)
    return context


def _load_certificate(context: ssl.SSLContext, parameters: Mapping[str, str]) -> None:
    certificate, key = parameters.get("sslcert"), parameters.get("sslkey")
    password = parameters.get("sslpassword", "")
    if certificate:
        _load("sslcert, sslkey", lambda: context.load_cert_chain(certificate, key, password))


def _load(name: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InvalidDatabaseUrl(f"the file of {name} cannot be read: {error}") from None
