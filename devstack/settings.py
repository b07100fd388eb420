"""What a stack can be told."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Self

DEFAULT_PORTS: Mapping[str, int] = MappingProxyType(
    {
        "payment": 50051,
        "interview": 50052,
        "notification": 50053,
        "provider": 50054,
        "postgres": 54320,
        "nats": 4222,
        "mailbox": 2525,
    }
)
_PORT_VARIABLES = {name: f"DEVSTACK_{name.upper()}_PORT" for name in DEFAULT_PORTS} | {
    "mailbox": "DEVSTACK_SMTP_PORT"
}


@dataclass(frozen=True)
class Settings:
    """Where to listen, and what else the processes are told.

    Attributes:
        ports: Wanted port by component; 0 takes any free one, and so does a port that is taken.
        environment: More environment variables by component.
        fsync: False lets PostgreSQL lose data in a power failure; for throw-away stacks only.
        postgres_url: Superuser URL of a PostgreSQL to use instead of the embedded one.
        nats_url: URL with an all-powerful user of a NATS server to use instead of the embedded
            one. Every service then uses that user, so the walls between them are not up.
        topology: File with streams and consumers to declare; None for the platform's own.
        start_limit: Seconds that a process may take to become ready.
    """

    ports: Mapping[str, int] = field(default_factory=lambda: DEFAULT_PORTS)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fsync: bool = True
    postgres_url: str = ""
    nats_url: str = ""
    topology: Path | None = None
    start_limit: float = 60.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Default ports, or those named by DEVSTACK_<COMPONENT>_PORT; servers by DEVSTACK_*_URL."""
        ports = {
            name: int(environ.get(variable) or DEFAULT_PORTS[name])
            for name, variable in _PORT_VARIABLES.items()
        }
        return cls(
            ports=ports,
            postgres_url=environ.get("DEVSTACK_POSTGRES_URL", ""),
            nats_url=environ.get("DEVSTACK_NATS_URL", ""),
        )

    @classmethod
    def on_free_ports(cls) -> Self:
        """Any free ports and the embedded servers: for tests that run beside each other."""
        return replace(cls(), ports=dict.fromkeys(DEFAULT_PORTS, 0))
