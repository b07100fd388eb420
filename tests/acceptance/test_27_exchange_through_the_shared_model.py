"""Exchange through the shared model: what domains tell each other is fixed by the contracts.

A change that would break a published one fails the check that CI runs.
"""

from pathlib import Path

import pytest

from devstack.commands import PROJECT
from tests.system.drivers.project_copy import copy_of_the_project, make

# File, what stands there, what it is changed to.
BREAKING = {
    "a column of the model loses its name": (
        "payment/v1/access_code.proto",
        "google.protobuf.Timestamp expire_at = 4",
        "google.protobuf.Timestamp valid_until = 4",
    ),
    "a status of the model goes": (
        "payment/v1/access_code.proto",
        "ACCESS_CODE_STATUS_EXPIRED = 3;",
        "reserved 3;",
    ),
    "a field of PaymentCompleted gets another type": (
        "payment/v1/events.proto",
        "int64 version = 5",
        "int32 version = 5",
    ),
    "a field of InterviewStarted gets another number": (
        "interview/v1/events.proto",
        "string access_code = 2",
        "string access_code = 12",
    ),
    "a call gets another name": (
        "payment/v1/access_code_service.proto",
        "rpc ValidateAccessCode(",
        "rpc CheckCode(",
    ),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project to break."""
    return copy_of_the_project(tmp_path)


def test_proof_27_ci_runs_the_check() -> None:
    """CI makes `check`, and that compares the contracts with the published ones."""
    assert "make check\n" in (PROJECT / ".ci" / "run").read_text("utf-8")
    planned = make(PROJECT, "check", "--dry-run").stdout
    assert "buf breaking" in planned
    assert "tests/contract/golden/contracts.binpb" in planned


def test_proof_27_the_contracts_as_they_are_pass(tree: Path) -> None:
    """So that what fails below fails for the change that was made."""
    result = make(tree, "check-contracts")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("change", BREAKING)
def test_proof_27_a_breaking_change_fails(tree: Path, change: str) -> None:
    """By a message that names the file of the change."""
    file, before, after = BREAKING[change]
    contract = tree / "protos" / file
    text = contract.read_text("utf-8")
    assert before in text
    contract.write_text(text.replace(before, after), "utf-8")
    result = make(tree, "check-contracts")
    assert result.returncode != 0
    assert file in result.stdout
    assert "reviously present" in result.stdout or "changed" in result.stdout, result.stdout
