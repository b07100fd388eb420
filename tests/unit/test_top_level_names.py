"""Our packages have names that no package we depend on has.

They are installed in an environment of their own, where only these could collide: see
docs/decisions/070-an-environment-of-its-own.md.
"""

import re
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]


def _installed(requirements: str) -> set[str]:
    """The distributions that a requirements file pins for this platform, in lower case."""
    lines = (PROJECT / requirements).read_text("utf-8").splitlines()
    pinned = [Requirement(line.rstrip(" \\")) for line in lines if re.match(r"[\w.-]+==", line)]
    return {one.name.lower() for one in pinned if one.marker is None or one.marker.evaluate()}


def _ours() -> set[str]:
    find = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    patterns = find["packages"]["find"]["include"]
    folders = [path for root in (PROJECT, PROJECT / "gen") for path in root.iterdir()]
    return {
        path.name for path in folders if any(path.match(one) for one in patterns) and path.is_dir()
    }


def test_no_dependency_installs_a_package_of_our_name() -> None:
    ours = _ours()
    assert {"runtime", "ops", "buf", "payment", "payment_svc", "deploy"} <= ours
    dependencies = _installed("requirements-devstack.txt")
    found = {
        (name, owner)
        for name, owners in packages_distributions().items()
        for owner in owners
        if name in ours and distribution(owner).name.lower() in dependencies
    }
    assert found == set()
