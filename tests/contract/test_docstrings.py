"""Docstrings are for readers of the code: Python removes them under -OO, and nothing changes."""

import ast
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.contract.texts import ROOT, product_files


def run(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(  # noqa: S603
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == status, result.stderr
    return result


@pytest.fixture(scope="module")
def texts() -> dict[str, Any]:
    """The texts without docstrings."""
    found: dict[str, Any] = json.loads(run("-OO", "-m", "tests.contract.texts").stdout)
    return found


def test_no_product_code_reads_a_docstring() -> None:
    readers = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in product_files()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Name) and node.id == "__doc__")
        or (isinstance(node, ast.Attribute) and node.attr in {"__doc__", "getdoc"})
    ]
    assert readers == []


def test_errors_and_help_are_the_same_without_docstrings(texts: dict[str, Any]) -> None:
    """Also those of libraries that take help from docstrings."""
    assert json.loads(run("-m", "tests.contract.texts").stdout) == texts


def test_every_error_without_a_text_of_its_own_has_one_in_its_table(texts: dict[str, Any]) -> None:
    assert len(texts["errors"]) > 10
    assert [name for name, text in texts["errors"].items() if text == text.upper()] == []


def test_every_command_has_a_help(texts: dict[str, Any]) -> None:
    """Its first sentence, after the line on its usage, is not one of the options."""
    assert {"opsctl", "opsctl status", "opsctl dead-letters list", "devstack up"} <= set(
        texts["help"]
    )
    for command, text in texts["help"].items():
        first = next(line for line in text.splitlines()[2:] if line.strip())
        assert first.strip(" │╭").rstrip()[:1].isalpha(), (command, text)
        assert not first.strip().startswith("The command"), command


@pytest.mark.parametrize("arguments", [("-m", "eventbus"), ("-m", "runtime.database.migrate")])
def test_a_wrong_call_says_how_to_call_it(arguments: tuple[str, ...]) -> None:
    shown = run("-OO", *arguments, status=2).stderr
    assert shown.lower().startswith(f"usage: python {' '.join(arguments)}")
    assert shown == run(*arguments, status=2).stderr


@pytest.mark.parametrize(
    "program", ["payment_svc", "interview_svc", "notification_svc", "sandbox_provider"]
)
def test_a_service_without_docstrings_starts_as_far_as_its_settings(program: str) -> None:
    """All its modules are imported, and it names each missing setting."""
    shown = run("-OO", "-m", program, status=2).stderr
    assert "_AUTH_KEYS: Field required" in shown
    assert shown == run("-m", program, status=2).stderr
