"""Unsafe settings: a service does not start with them and reports the reason."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from devstack.commands import service
from devstack.servers.postgres_installation import Installation
from devstack.stack import Stack
from tests.system.drivers.stack_runner import run_to_end
from tests.system.drivers.stack_settings import settings


@pytest_asyncio.fixture(loop_scope="session")
async def stopped_stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack of which nothing runs yet."""
    stack = Stack(tmp_path, settings(tmp_path))
    try:
        yield stack
    finally:
        await stack.stop()
        Installation(stack.directory).remove()


@pytest.mark.parametrize(
    ("role", "reason"), [("", "is a superuser"), ("payment_owner", "is an owner of schema payment")]
)
async def test_a_service_does_not_start_as_a_superuser_or_as_an_owner_of_its_schema(
    stopped_stack: Stack, role: str, reason: str
) -> None:
    await stopped_stack.start_only(["postgres", "nats"])
    await stopped_stack.migrate("payment")
    program = service(stopped_stack, "payment")
    url = stopped_stack.database_url(role) if role else stopped_stack.superuser_url
    status, output = await run_to_end(program, {"PAYMENT_DATABASE_URL": url})
    assert status == 1
    assert reason in output


async def test_a_service_does_not_start_with_keys_that_it_cannot_read(stopped_stack: Stack) -> None:
    await stopped_stack.start_only(["postgres", "nats"])
    await stopped_stack.migrate("payment")
    file = stopped_stack.directory / "broken.json"
    file.write_text(json.dumps({"keys": [{"kty": "OKP"}]}))
    program = service(stopped_stack, "payment")
    status, output = await run_to_end(program, {"PAYMENT_AUTH_KEYS": str(file)})
    assert status == 1
    assert "broken.json" in output


@pytest.mark.parametrize(
    "settings_and_files",
    [
        {"PAYMENT_TLS_ROOTS": "roots.pem"},
        {"PAYMENT_TLS_CERTIFICATE": "certificate.pem", "PAYMENT_TLS_KEY": "key.pem"},
    ],
)
@pytest.mark.parametrize("text", [None, "nonsense"])
async def test_a_service_does_not_start_with_certificates_that_it_cannot_read(
    stopped_stack: Stack, settings_and_files: dict[str, str], text: str | None
) -> None:
    """The file is missing or no PEM: exit status 1, and one line names it."""
    await stopped_stack.start_only(["postgres", "nats"])
    await stopped_stack.migrate("payment")
    files = {name: stopped_stack.directory / file for name, file in settings_and_files.items()}
    if text:
        for file in files.values():
            file.write_text(text)
    environment = {name: str(file) for name, file in files.items()}
    status, output = await run_to_end(service(stopped_stack, "payment"), environment)
    assert status == 1
    (line,) = [line for line in output.splitlines() if "could not start" in line]
    assert next(iter(settings_and_files.values())) in line
    assert "Traceback" not in output
