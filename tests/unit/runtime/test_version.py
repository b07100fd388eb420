"""The version is the same wherever it is written."""

import re
import tomllib
from pathlib import Path

from runtime.version import VERSION

PROJECT = Path(__file__).parents[3]


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == VERSION


def test_compose_runs_the_image_of_this_version() -> None:
    compose = (PROJECT / "deploy" / "compose.yaml").read_text("utf-8")
    assert re.findall(r"\$\{IMAGE:-mock-interview:([^}]+)\}", compose) == [VERSION]
