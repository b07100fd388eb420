"""The clients in examples/ run unchanged against a stack.

Those of Go and TypeScript are built in a copy, with the packages that they pin; a test is skipped,
with the reason, where a toolchain or its registry is missing.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.commands import PROJECT
from interview.v1 import interview_service_pb2, session_pb2
from payment.v1 import access_code_service_pb2
from runtime.auth.authentication import Role
from tests.system.drivers.running_stack import RunningStack

# Building the first time compiles all packages.
pytestmark = pytest.mark.timeout(600)

_SCRIPTS = Path(sys.executable).parent
_ENVIRONMENT = {**os.environ, "PATH": f"{_SCRIPTS}{os.pathsep}{os.environ['PATH']}"}


def _program(name: str) -> str:
    path = shutil.which(name, path=_ENVIRONMENT["PATH"])
    if path is None:
        pytest.skip(f"there is no {name} on the PATH")
    return path


def _copy(language: str, target: Path) -> Path:
    """Copies an example without what was built in it, and what it reads of the project."""
    built = shutil.ignore_patterns("gen", "dist", "node_modules", "__pycache__")
    for part in ("protos", f"examples/{language}"):
        shutil.copytree(PROJECT / part, target / part, ignore=built)
    shutil.copy2(PROJECT / "buf.yaml", target)
    _build(target, sys.executable, "protos/compile.py", "--image", "build/contracts.binpb")
    return target / "examples" / language


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command, cwd=folder, env=_ENVIRONMENT, capture_output=True, text=True, check=False
    )


def _install(folder: Path, *command: str) -> None:
    result = _run(folder, *command)
    if result.returncode != 0:
        pytest.skip(f"{' '.join(command)} failed: {(result.stderr or result.stdout)[-300:]}")


def _build(folder: Path, *command: str) -> None:
    result = _run(folder, *command)
    assert result.returncode == 0, result.stdout + result.stderr


def python(_: Path) -> list[str]:
    return [sys.executable, str(PROJECT / "examples" / "python" / "journey.py")]


def shell(_: Path) -> list[str]:
    _program("grpcurl")
    return [_program("bash"), str(PROJECT / "examples" / "shell" / "journey.sh")]


def go(directory: Path) -> list[str]:
    program = _program("go")
    folder = _copy("go", directory)
    _install(folder, program, "mod", "download")
    _build(folder, program, "generate", "./...")
    _build(folder, program, "vet", "-mod=readonly", ".")
    _build(folder, program, "build", "-mod=readonly", "-o", "journey", ".")
    return [str(folder / "journey")]


def typescript(directory: Path) -> list[str]:
    npm = _program("npm")
    folder = _copy("typescript", directory)
    _install(folder, npm, "install")
    _build(folder, npm, "run", "build")
    return [_program("node"), str(folder / "dist" / "journey.js")]


@pytest.fixture(scope="module", params=[python, shell, go, typescript])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs an example."""
    build: Callable[[Path], list[str]] = request.param
    return build(tmp_path_factory.mktemp(build.__name__))


async def start(
    example: list[str], stack: RunningStack, token: str, email: str
) -> asyncio.subprocess.Process:
    addresses = [stack.devstack.address(service) for service in ("payment", "interview")]
    return await asyncio.create_subprocess_exec(
        *example,
        *addresses,
        token,
        email,
        env=_ENVIRONMENT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_an_example_leads_a_customer_from_an_order_to_a_redeemed_code(
    shared_stack: RunningStack, example: list[str]
) -> None:
    """It reads the mailed access code from standard input and prints the started session."""
    journey = shared_stack.journey()
    token = shared_stack.devstack.keys.token("a shop", Role.STOREFRONT)
    client = await start(example, shared_stack, token, journey.email)
    code = await journey.wait_for_mailed_code()
    out, err = await client.communicate(f"{code}\n".encode())
    assert client.returncode == 0, err.decode()
    assert out.decode().endswith("is in progress\nthe access code is redeemed\n")
    session_id = out.decode().rpartition("mail: ")[2].split()[0]
    request = interview_service_pb2.GetSessionRequest(session_id=session_id)
    session = (await shared_stack.clients.interviews.GetSession(request)).session
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
    validate = access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
    validated = await shared_stack.clients.codes.ValidateAccessCode(validate)
    assert validated.reason == access_code_service_pb2.VALIDATION_REASON_REDEEMED


async def test_an_example_says_why_a_call_failed(
    shared_stack: RunningStack, example: list[str]
) -> None:
    client = await start(example, shared_stack, "not-a-token", "li.hua@example.com")
    out, err = await client.communicate()
    assert (client.returncode, out) == (1, b"")
    assert "token" in err.decode()
    assert "Traceback" not in err.decode()


async def test_the_python_example_prints_a_failed_call_as_one_line(
    shared_stack: RunningStack, tmp_path: Path
) -> None:
    client = await start(python(tmp_path), shared_stack, "not-a-token", "li.hua@example.com")
    _, err = await client.communicate()
    assert err.decode().startswith("payment rejected the token: ")
    assert err.decode().rstrip().endswith("(TOKEN_INVALID)")
    assert err.decode().count("\n") == 1
