"""Copies of the project in which a check of CI is to find something wrong."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from devstack.commands import PROJECT

_VENV = Path(sys.executable).parent.parent
_PARTS = (
    "Makefile", "pyproject.toml", ".ci", "protos", "gen", "eventbus", "runtime", "shared_model",
    "payment_svc", "interview_svc", "notification_svc", "devstack", "opsctl", "clients",
    "tests/contract/golden",
)  # fmt: skip
_CACHES = shutil.ignore_patterns("__pycache__")


def copy_of_the_project(target: Path) -> Path:
    """A copy of all that the static checks of contracts and imports read."""
    for part in _PARTS:
        source, copy = PROJECT / part, target / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=_CACHES)
        else:
            shutil.copy2(source, copy)
    return target


def make(tree: Path, target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Makes a target in a copy with what is installed here; its output and exit status."""
    program = shutil.which("make")
    assert program is not None, "the project needs make"
    stamps = [f"--old-file={_VENV / name}" for name in (".dev-stamp", ".runtime-stamp")]
    variables = [f"VENV={_VENV}", f"CONTRACT_IMAGE={tree / 'contracts.binpb'}"]
    return subprocess.run(  # noqa: S603
        [program, *stamps, *variables, *arguments, target],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'gen'}", "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
