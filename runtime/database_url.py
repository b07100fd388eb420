"""A database URL in the forms that platforms hand out, checked before anything connects.

`postgresql://`, `postgres://` or `postgresql+asyncpg://`, with the parameters of libpq. asyncpg
reads the URL itself; this module refuses what it would misread, and translates what it does not
know.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSION_ATTRIBUTES = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
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
_MAX_PORT = 65535


class InvalidDatabaseUrl(ValueError):
    """A database URL cannot be used; the message does not repeat it, as it may have a password."""


@dataclass(frozen=True)
class DatabaseUrl:
    """A valid URL. `login` and `database` are percent-encoded, `hosts` are separated by commas."""

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
        other = parameters.pop("dbname", "")
        database = parts.path.removeprefix("/") or quote(other, safe="")
        if not database:
            raise InvalidDatabaseUrl("it names no database")
        if not hosts and not parameters.get("host"):
            raise InvalidDatabaseUrl("it names no host")
        _check_ports([*_ports(hosts), *parameters.get("port", "").split(",")])
        _check_choices(parameters)
        _check_tls_files(parameters)
        return cls(login.replace("@", "%40"), hosts, database, parameters, connect_seconds)

    def __str__(self) -> str:
        """The URL, with password, as asyncpg and libpq read it."""
        return self._url(self.parameters)

    def _url(self, parameters: Mapping[str, str]) -> str:
        query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        login = f"{self.login}@" if self.login else ""
        return f"postgresql://{login}{self.hosts}/{self.database}{query}"

    def with_login(self, user: str, password: str) -> "DatabaseUrl":
        """The same database as another user."""
        others = {k: v for k, v in self.parameters.items() if k not in {"user", "password"}}
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return replace(self, login=login, parameters=others)

    def with_database(self, name: str) -> "DatabaseUrl":
        """Another database of the same server."""
        return replace(self, database=quote(name, safe=""))

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
    return float(seconds) if seconds > 0 else _CONNECT_SECONDS


def _ports(hosts: str) -> list[str]:
    """The port of each host that has one."""
    ports = []
    for host in hosts.split(","):
        _, bracket, rest = host.rpartition("]")
        ports.append(rest.partition(":")[2] if bracket or ":" in rest else "")
    return ports


def _check_ports(ports: list[str]) -> None:
    for port in ports:
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT):
            raise InvalidDatabaseUrl(f"its port is not a number from 1 to {_MAX_PORT}")


def _check_choices(parameters: Mapping[str, str]) -> None:
    for name, choices in (("sslmode", _SSL_MODES), ("target_session_attrs", _SESSION_ATTRIBUTES)):
        if parameters.get(name, choices[0]) not in choices:
            raise InvalidDatabaseUrl(f"its {name} is none of {', '.join(choices)}")


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
