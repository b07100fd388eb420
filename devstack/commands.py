"""Command lines and environments of a stack's processes."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack.addresses import PAYMENT_INTERNAL, Addresses
from devstack.errors import DevstackError
from devstack.servers.postgres import SERVICES
from devstack.supervision.processes import Program

PROJECT = Path(__file__).parent.parent
MAIL_FROM = "interviews@mock-interview.example"


def mailbox(stack: Addresses) -> Program:
    options = ["--port", str(stack.smtp_port), "--dir", str(stack.mail_dir)]
    return _python(stack, "mailbox", ["devstack.servers.mailbox", *options], {})


def provider(stack: Addresses) -> Program:
    environment = {
        "PROVIDER_LISTEN": stack.address("provider"),
        "PROVIDER_DATABASE": str(stack.directory / "provider.sqlite"),
        "PROVIDER_WEBHOOK_TARGET": stack.address("payment"),
        "PROVIDER_WEBHOOK_SECRET": stack.provider_secret,
        **_keys(stack, "PROVIDER_", "provider"),
    }
    return _python(stack, "provider", ["sandbox_provider"], environment)


def service(stack: Addresses, name: str) -> Program:
    return _python(stack, name, [f"{name}_svc"], service_environment(stack, name))


def component(stack: Addresses, name: str) -> Program:
    """The program of any component except the PostgreSQL and NATS servers."""
    match name:
        case "mailbox":
            return mailbox(stack)
        case "provider":
            return provider(stack)
        case _ if name in SERVICES:
            return service(stack, name)
    raise DevstackError(f"there is no component {name!r}")


def topology(stack: Addresses) -> Program:
    """One-time step: declares streams and consumers."""
    file = stack.settings.topology or PROJECT / "deploy" / "nats" / "topology.toml"
    environment = _nats(stack, "", "admin")
    return _python(stack, "topology", ["eventbus", "apply", str(file)], environment)


def migrations(stack: Addresses, names: Sequence[str]) -> Program:
    """One-time step: migrates the services' schemas, each as its owner role, in this order."""
    environment = {
        f"{name.upper()}_OWNER_DATABASE_URL": stack.database_url(f"{name}_owner") for name in names
    }
    packages = [f"{name}_svc" for name in names]
    return _python(stack, "migrate", ["runtime.database.migrate", *packages], environment)


def service_environment(stack: Addresses, name: str) -> dict[str, str]:
    """The environment variables with which a service is started."""
    prefix = f"{name.upper()}_"
    environment = {
        f"{prefix}LISTEN": stack.address(name),
        f"{prefix}DATABASE_URL": stack.database_url(f"{name}_runtime"),
        **_nats(stack, prefix, name),
        **_keys(stack, prefix, name),
    }
    match name:
        case "payment":
            environment["PAYMENT_INTERNAL_LISTEN"] = stack.address(PAYMENT_INTERNAL)
            environment["PAYMENT_PROVIDER_TARGET"] = stack.address("provider")
            environment["PAYMENT_PROVIDER_SECRET"] = stack.provider_secret
        case "interview":
            environment["INTERVIEW_PAYMENT_TARGET"] = stack.address(PAYMENT_INTERNAL)
        case "notification":
            environment["NOTIFICATION_SMTP_HOST"] = stack.smtp_host
            environment["NOTIFICATION_SMTP_PORT"] = str(stack.smtp_port)
            environment["NOTIFICATION_MAIL_FROM"] = MAIL_FROM
    return environment


def _keys(stack: Addresses, prefix: str, issuer: str) -> dict[str, str]:
    return {
        f"{prefix}AUTH_KEYS": str(stack.keys.public),
        f"{prefix}AUTH_SIGNING_KEY": str(stack.keys.private(issuer)),
    }


def _nats(stack: Addresses, prefix: str, user: str) -> dict[str, str]:
    login = stack.nats_login(user)
    return {
        f"{prefix}NATS_URL": stack.nats_url,
        f"{prefix}NATS_USER": login.user,
        f"{prefix}NATS_PASSWORD": login.password,
    }


def _python(
    stack: Addresses, name: str, module: list[str], environment: Mapping[str, str]
) -> Program:
    paths = [str(PROJECT), str(PROJECT / "gen"), os.environ.get("PYTHONPATH", "")]
    variables = {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        **environment,
        **stack.settings.environment.get(name, {}),
    }
    # -P: files in the working directory are not importable.
    command = [sys.executable, "-P", "-m", *module]
    return Program(name=name, command=command, environment=variables, directory=stack.directory)
