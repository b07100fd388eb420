"""Exchange through the shared model: domains exchange the messages of the contracts.

A change that breaks a published contract fails the check that CI runs.
"""

from pathlib import Path

import pytest

from devstack.commands import PROJECT
from tests.system.drivers.project_copy import copy_of_the_project, make

# File, text in it, and what replaces the text.
BREAKING = {
    "a field of the model is renamed": (
        "payment/v1/access_code.proto",
        "google.protobuf.Timestamp expire_at = 4",
        "google.protobuf.Timestamp valid_until = 4",
    ),
    "a status of the model is removed": (
        "payment/v1/access_code.proto",
        "ACCESS_CODE_STATUS_EXPIRED = 3;",
        "reserved 3;",
    ),
    "a field of PaymentCompleted changes its type": (
        "payment/v1/events.proto",
        "int64 version = 5",
        "int32 version = 5",
    ),
    "a field of InterviewStarted changes its number": (
        "interview/v1/events.proto",
        "string access_code = 2",
        "string access_code = 12",
    ),
    "a call is renamed": (
        "payment/v1/access_code_service.proto",
        "rpc ValidateAccessCode(",
        "rpc CheckCode(",
    ),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project to break."""
    return copy_of_the_project(tmp_path)


def test_ci_runs_the_check() -> None:
    """`make check` compares the contracts with the published ones."""
    assert "make check\n" in (PROJECT / ".ci" / "run").read_text("utf-8")
    commands = make(PROJECT, "check", "--dry-run").stdout
    assert "buf breaking" in commands
    assert "tests/contract/golden/contracts.binpb" in commands


def test_the_unchanged_contracts_pass(tree: Path) -> None:
    """The failures below are caused by the changes."""
    result = make(tree, "check-contracts")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("change", BREAKING)
def test_a_breaking_change_fails(tree: Path, change: str) -> None:
    """The message names the changed file."""
    file, before, after = BREAKING[change]
    contract = tree / "protos" / file
    text = contract.read_text("utf-8")
    assert before in text
    contract.write_text(text.replace(before, after), "utf-8")
    result = make(tree, "check-contracts")
    assert result.returncode != 0
    assert file in result.stdout
    assert "reviously present" in result.stdout or "changed" in result.stdout, result.stdout
