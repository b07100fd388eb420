"""The names of the package `eventbus` itself, which it imports on first use."""

import subprocess
import sys

import pytest

import eventbus


@pytest.mark.parametrize("name", eventbus.__all__)
def test_every_public_name_is_found_in_its_module(name: str) -> None:
    assert getattr(eventbus, name).__name__ == name


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Consumers'"):
        eventbus.Consumers  # noqa: B018


@pytest.mark.parametrize("program", ["opsctl.command_line", "eventbus.__main__"])
def test_a_program_without_a_database_starts_without_sqlalchemy(program: str) -> None:
    """Its import takes longer than that of all else."""
    code = f"import sys, {program}; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603
