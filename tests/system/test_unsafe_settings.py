"""A service refuses to run with rights or keys that would be no wall, and says why."""

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
async def stopped(tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack that is not started yet."""
    stack = Stack(tmp_path, settings(tmp_path))
    try:
        yield stack
    finally:
        await stack.stop()
        Installation(stack.directory).remove()


@pytest.mark.parametrize(
    ("role", "why"), [("", "is a superuser"), ("payment_owner", "is an owner of schema payment")]
)
async def test_a_service_refuses_to_run_as_a_superuser_or_an_owner(
    stopped: Stack, role: str, why: str
) -> None:
    await stopped.start_only(["postgres", "nats"])
    await stopped.migrate("payment")
    program = service(stopped, "payment")
    url = stopped.database_url(role) if role else stopped.superuser_url
    status, output = await run_to_end(program, {"PAYMENT_DATABASE_URL": url})
    assert status == 1
    assert why in output


async def test_a_service_refuses_keys_that_it_can_not_read(stopped: Stack) -> None:
    await stopped.start_only(["postgres", "nats"])
    await stopped.migrate("payment")
    file = stopped.directory / "broken.json"
    file.write_text(json.dumps({"keys": [{"kty": "OKP"}]}))
    program = service(stopped, "payment")
    status, output = await run_to_end(program, {"PAYMENT_AUTH_KEYS": str(file)})
    assert status == 1
    assert "broken.json" in output


@pytest.mark.parametrize(
    "wrong",
    [
        {"PAYMENT_TLS_ROOTS": "roots.pem"},
        {"PAYMENT_TLS_CERTIFICATE": "certificate.pem", "PAYMENT_TLS_KEY": "key.pem"},
    ],
)
@pytest.mark.parametrize("text", [None, "nonsense"])
async def test_a_service_refuses_certificates_that_it_can_not_read(
    stopped: Stack, wrong: dict[str, str], text: str | None
) -> None:
    """Missing or not PEM: exit status 1, and one line that names the file."""
    await stopped.start_only(["postgres", "nats"])
    await stopped.migrate("payment")
    files = {name: stopped.directory / file for name, file in wrong.items()}
    if text:
        for file in files.values():
            file.write_text(text)
    told = {name: str(file) for name, file in files.items()}
    status, output = await run_to_end(service(stopped, "payment"), told)
    assert status == 1
    (line,) = [line for line in output.splitlines() if "could not start" in line]
    assert next(iter(wrong.values())) in line
    assert "Traceback" not in output
