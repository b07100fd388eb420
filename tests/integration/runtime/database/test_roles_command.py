"""`python -m runtime.database.roles`: run again, run wrong, and what it tells."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from devstack.servers.postgres import DATABASE
from devstack.stack import Stack
from runtime.database.roles import URL_OF_ROLE


@dataclass
class Ended:
    status: int | None
    output: str


async def run(environment: dict[str, str], *arguments: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runtime.database.roles", *arguments),
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return Ended(process.returncode, output.decode())


def urls(stack: Stack) -> dict[str, str]:
    return {variable: stack.database_url(role) for role, variable in URL_OF_ROLE.items()}


def admin_url(stack: Stack) -> str:
    return str(stack.postgres_server.url.with_database(DATABASE))


async def test_it_sets_the_passwords_of_all_roles_again_and_again(
    migrated_stack: Stack, tmp_path: Path
) -> None:
    """The URL may be in a file; the roles log in with what the server stores of the passwords."""
    (tmp_path / "admin").write_text(f"{admin_url(migrated_stack)}\n")
    environment = {"ADMIN_DATABASE_URL_FILE": str(tmp_path / "admin"), **urls(migrated_stack)}
    for _ in range(2):
        ended = await run(environment)
        assert ended == Ended(0, "roles and schemas are up to date\n")
    for url in urls(migrated_stack).values():
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.close()


async def test_without_urls_it_sets_no_passwords_and_says_so(migrated_stack: Stack) -> None:
    ended = await run({"ADMIN_DATABASE_URL": admin_url(migrated_stack)})
    assert ended.status == 0
    assert "no password set for payment_owner" in ended.output


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "ADMIN_DATABASE_URL is not set"),
        ({"ADMIN_DATABASE_URL": "nonsense"}, "ADMIN_DATABASE_URL: it is not of the form"),
        ({"ADMIN_DATABASE_URL_FILE": "/missing"}, "ADMIN_DATABASE_URL_FILE: /missing cannot"),
        (
            {
                "ADMIN_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/x",
                "PAYMENT_DATABASE_URL": "postgresql://other:s3cret@127.0.0.1:1/x",
            },
            "PAYMENT_DATABASE_URL: its user has to be payment_runtime, not other",
        ),
        (
            {
                "ADMIN_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/x",
                "PAYMENT_DATABASE_URL": "postgresql://payment_runtime@127.0.0.1:1/x",
            },
            "PAYMENT_DATABASE_URL: it has no password",
        ),
        (
            {
                "ADMIN_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/x",
                "PAYMENT_DATABASE_URL": "postgresql://payment_runtime:s3cret%0a@127.0.0.1:1/x",
            },
            "PAYMENT_DATABASE_URL: a password must be of printable ASCII characters",
        ),
    ],
)
async def test_wrong_settings_are_refused_before_anything_connects(
    environment: dict[str, str], problem: str
) -> None:
    ended = await run(environment)
    assert ended.status == 2
    assert problem in ended.output
    assert "s3cret" not in ended.output


async def test_a_refusal_of_the_server_is_told(migrated_stack: Stack) -> None:
    ended = await run({"ADMIN_DATABASE_URL": migrated_stack.database_url("payment_runtime")})
    assert ended.status == 1
    assert "run this as a superuser" in ended.output
