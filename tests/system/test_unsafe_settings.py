"""Unsafe settings: a service does not start with them and reports the reason."""

import json
from pathlib import Path

import pytest

from devstack.commands import service
from tests.builders.tokens import ForeignIssuer
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_runner import run_to_end


@pytest.mark.parametrize(
    ("role", "reason"), [("", "is a superuser"), ("payment_owner", "is an owner of schema payment")]
)
async def test_a_service_does_not_start_as_a_superuser_or_as_an_owner_of_its_schema(
    shared_stack: RunningStack, role: str, reason: str
) -> None:
    program = service(shared_stack.devstack, "payment")
    url = shared_stack.devstack.database_url(role) if role else shared_stack.devstack.superuser_url
    status, output = await run_to_end(program, {"PAYMENT_DATABASE_URL": url})
    assert status == 1
    assert reason in output


async def test_a_service_does_not_start_with_keys_that_it_cannot_read(
    shared_stack: RunningStack, tmp_path: Path
) -> None:
    """A plain JWK set says nothing about issuer and roles; a public key signs nothing."""
    file = tmp_path / "broken.json"
    program = service(shared_stack.devstack, "interview")
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
async def test_a_service_does_not_start_with_certificates_that_it_cannot_read(
    shared_stack: RunningStack, tmp_path: Path, settings_and_files: dict[str, str]
) -> None:
    """Exit status 1, and one line names a file; missing ones are in integration/runtime/rpc."""
    files = {name: tmp_path / file for name, file in settings_and_files.items()}
    for file in files.values():
        file.write_text("nonsense")
    environment = {name: str(file) for name, file in files.items()}
    status, output = await run_to_end(service(shared_stack.devstack, "payment"), environment)
    assert status == 1
    (line,) = [line for line in output.splitlines() if "could not start" in line]
    assert next(iter(settings_and_files.values())) in line
    assert "Traceback" not in output
