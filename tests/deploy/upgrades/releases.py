"""The code of two releases: what is in this repository, and the release before it."""

import io
import shutil
import subprocess
import tarfile
import tomllib
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from os import pathsep
from pathlib import Path

from packaging.requirements import Requirement

from devstack import commands
from devstack.commands import PROJECT
from devstack.stack import Stack
from devstack.supervision.processes import Program

_RECORD = Path(__file__).with_name("previous_release")


class PreviousReleaseMissing(Exception):
    """The commit of the previous release is not in this clone, or there is no git."""


@dataclass(frozen=True)
class Release:
    """The code of a release, in a folder with the layout of this repository."""

    name: str
    root: Path

    def runs(self, program: Program, name: str) -> Program:
        """A program of the stack under another name, with the code of this release."""
        paths = pathsep.join([str(self.root), str(self.root / "gen")])
        return replace(program, name=name, environment={**program.environment, "PYTHONPATH": paths})

    def migration(self, stack: Stack, service: str) -> Program:
        """Migrates a service's schema to the revision of this release, if it is not newer."""
        return self.runs(commands.migrations(stack, [service]), f"migrate-{service}-{self.name}")

    def topology(self, stack: Stack) -> Program:
        """Declares streams and consumers as this release does."""
        program = commands.topology(stack)
        file = self.root / "deploy" / "nats" / "topology.toml"
        # In the place of the last argument, the stack's own file.
        program = replace(program, command=[*program.command[:-1], str(file)])
        return self.runs(program, f"topology-{self.name}")

    def install_nats_configuration(self, directory: Path) -> Path:
        """Copies the configuration of the broker over that of another release; its main file."""
        shutil.copytree(self.root / "deploy" / "nats", directory, dirs_exist_ok=True)
        return directory / "nats-server.conf"

    def unsatisfied_requirements(self) -> list[str]:
        """What the release requires and the environment of this process does not have."""
        text = (self.root / "pyproject.toml").read_text("utf-8")
        requirements = map(Requirement, tomllib.loads(text)["project"]["dependencies"])
        return [str(one) for one in requirements if not _is_satisfied(one)]


CURRENT = Release("current", PROJECT)


def recorded_commit() -> str:
    """The commit of the previous release."""
    lines = _RECORD.read_text("utf-8").splitlines()
    (commit,) = (line for line in lines if not line.startswith("#"))
    return commit


def previous_release(directory: Path) -> Release:
    """Writes the code of the previous release to a directory; raises PreviousReleaseMissing."""
    commit = recorded_commit()
    try:
        archive = subprocess.run(  # noqa: S603 - our own command
            ["git", "-C", str(PROJECT), "archive", "--format=tar", commit],  # noqa: S607
            capture_output=True,
            check=True,
        ).stdout
    except FileNotFoundError:
        raise PreviousReleaseMissing("git is not installed (package git)") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PreviousReleaseMissing(
            f"the commit {commit} of the previous release is not in this clone; a shallow one gets"
            f" it by: git fetch --unshallow ({' '.join(reason)})"
        ) from None
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(directory, filter="data")
    return Release("previous", directory)


def _is_satisfied(requirement: Requirement) -> bool:
    if requirement.marker and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False
