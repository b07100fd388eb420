"""Copies of the project, to be changed so that a static check fails."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from devstack.commands import PROJECT

_VENV = Path(sys.executable).parent.parent
_PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
_PACKAGES = _PYPROJECT["tool"]["importlinter"]["root_packages"]
_FILES = ("Makefile", "buf.yaml", "buf.gen.yaml", "pyproject.toml")
_PARTS = (*_FILES, ".ci", "protos", "gen", "tests/contract/golden", *_PACKAGES)
_CACHES = shutil.ignore_patterns("__pycache__")


def copy_of_the_project(target: Path) -> Path:
    """Copies all files that the static checks of contracts and imports read."""
    for part in _PARTS:
        source, copy = PROJECT / part, target / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=_CACHES)
        else:
            shutil.copy2(source, copy)
    return target


def make(tree: Path, target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs make in a copy, with the virtual environment of this project."""
    program = shutil.which("make")
    assert program is not None, "the project needs make"
    stamps = [f"--old-file={_VENV / name}" for name in (".dev-stamp", ".runtime-stamp")]
    variables = [f"VENV={_VENV}"]
    return subprocess.run(  # noqa: S603
        [program, *stamps, *variables, *arguments, target],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'gen'}", "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
