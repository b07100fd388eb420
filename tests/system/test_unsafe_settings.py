"""Unsafe settings: a service does not start with them and reports the reason."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from devstack.commands import service
from devstack.servers.postgres_installation import Installation
from devstack.stack import Stack
from tests.builders.tokens import ForeignIssuer
from tests.system.drivers.stack_runner import run_to_end
from tests.system.drivers.stack_settings import settings


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack_of_servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack with PostgreSQL and NATS running, payment's schema migrated, and no service."""
    directory = tmp_path_factory.mktemp("unsafe")
    stack = Stack(directory, settings(directory))
    try:
        await stack.start_only(["postgres", "nats"])
        await stack.migrate("payment")
        yield stack
    finally:
        await stack.stop()
        Installation(stack.directory).remove()


@pytest.mark.parametrize(
    ("role", "reason"), [("", "is a superuser"), ("payment_owner", "is an owner of schema payment")]
)
async def test_a_service_does_not_start_as_a_superuser_or_as_an_owner_of_its_schema(
    stack_of_servers: Stack, role: str, reason: str
) -> None:
    program = service(stack_of_servers, "payment")
    url = stack_of_servers.database_url(role) if role else stack_of_servers.superuser_url
    status, output = await run_to_end(program, {"PAYMENT_DATABASE_URL": url})
    assert status == 1
    assert reason in output


async def test_a_service_does_not_start_with_keys_that_it_cannot_read(
    stack_of_servers: Stack, tmp_path: Path
) -> None:
    """A plain JWK set says nothing about issuer and roles; a public key signs nothing."""
    file = tmp_path / "broken.json"
    program = service(stack_of_servers, "interview")
    [plain] = ForeignIssuer().jwks()["keys"]
    for setting, content, problem in (
        ("INTERVIEW_AUTH_KEYS", {"keys": [plain]}, "names no issuer"),
        ("INTERVIEW_AUTH_SIGNING_KEY", plain, "no private key"),
    ):
        file.write_text(json.dumps(content))
        status, output = await run_to_end(program, {setting: str(file)})
        assert status == 1
        [line] = [line for line in output.splitlines() if "could not start" in line]
        assert "broken.json" in line
        assert problem in line
        assert "Traceback" not in output


@pytest.mark.parametrize(
    "settings_and_files",
    [
        {"PAYMENT_TLS_ROOTS": "roots.pem"},
        {"PAYMENT_PROVIDER_TLS_ROOTS": "roots.pem"},
        {"PAYMENT_TLS_CERTIFICATE": "certificate.pem", "PAYMENT_TLS_KEY": "key.pem"},
    ],
)
@pytest.mark.parametrize("text", [None, "nonsense"])
async def test_a_service_does_not_start_with_certificates_that_it_cannot_read(
    stack_of_servers: Stack, tmp_path: Path, settings_and_files: dict[str, str], text: str | None
) -> None:
    """The file is missing or no PEM: exit status 1, and one line names it."""
    files = {name: tmp_path / file for name, file in settings_and_files.items()}
    if text:
        for file in files.values():
            file.write_text(text)
    environment = {name: str(file) for name, file in files.items()}
    status, output = await run_to_end(service(stack_of_servers, "payment"), environment)
    assert status == 1
    (line,) = [line for line in output.splitlines() if "could not start" in line]
    assert next(iter(settings_and_files.values())) in line
    assert "Traceback" not in output
