"""The programs that the tests of the chart need, and the skip that names one that is missing."""

import os
import re
import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parents[2]
_BUILD = FOLDER / "build-tools"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))


def built(name: str) -> Path:
    """A file that build-tools makes, such as `helm-{HELM}` with the version it states there."""
    versions = dict(re.findall(r"\b([A-Z_]+)=([0-9.]+)", _BUILD.read_text("utf-8")))
    path = _CACHE / "mock-interview" / "kubernetes-tools" / name.format(**versions)
    if not path.exists():
        pytest.skip(f"{path.name} is missing: {_BUILD.relative_to(PROJECT)} builds it, with Go")
    return path


def installed(name: str, package: str) -> Path:
    """A program of a Debian package."""
    if path := shutil.which(name):
        return Path(path)
    pytest.skip(f"{name} is missing: it is in the Debian package {package}")
