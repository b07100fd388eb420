"""Podman with a store of its own, on a machine without systemd."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

_PACKAGES = {
    "podman": "podman",
    "buildah": "buildah",
    "runc": "runc",
    "dnsmasq": "dnsmasq-base",
    "iptables": "iptables",
}
# crun needs systemd or CAP_SYS_RESOURCE; the events of podman need no journal.
_CONFIGURATION = """
    [containers]
    default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
    [engine]
    runtime = "runc"
    cgroup_manager = "cgroupfs"
    events_logger = "file"
"""
BUILD_OPTIONS = ("--isolation", "chroot", "--network", "host", "--pull-never")
_SECONDS = 600


class Podman:
    """Runs podman and buildah on one store."""

    def __init__(self, directory: Path) -> None:
        """Skips the test if a program is missing or this user is not root."""
        if os.geteuid() != 0:
            pytest.skip("containers are run as root")
        for program, package in _PACKAGES.items():
            if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
                pytest.skip(f"{program} is missing: it is in the Debian package {package}")
        self.directory = directory
        configuration = directory / "containers.conf"
        configuration.write_text(dedent(_CONFIGURATION))
        self.environment: Mapping[str, str] = {
            **os.environ,
            "CONTAINERS_CONF": str(configuration),
        }
        store = ["--root", str(directory / "store"), "--runroot", str(directory / "run")]
        self.command = ["podman", *store]
        self.builder = ["buildah", *store]

    def run(self, *arguments: str, check: bool = True, seconds: float = _SECONDS) -> str:
        """Runs podman; returns what it prints. Its errors are part of a failure's message."""
        return self._output([*self.command, *arguments], check=check, seconds=seconds)

    def build(self, context: Path, tag: str, *arguments: str) -> None:
        """Builds an image from a context with a Containerfile; nothing is downloaded."""
        command = [*self.builder, "build", *BUILD_OPTIONS, *arguments, "--tag", tag, str(context)]
        self._output(command, check=True, seconds=_SECONDS)

    def remove_everything(self) -> None:
        """Removes containers, networks, volumes and images, also after a failure."""
        for arguments in (
            ("rm", "--all", "--force", "--time", "0"),
            ("network", "prune", "--force"),
            ("volume", "prune", "--force"),
            ("rmi", "--all", "--force"),
        ):
            self.run(*arguments, check=False)

    def _output(self, command: list[str], *, check: bool, seconds: float) -> str:
        ended = subprocess.run(  # noqa: S603  our own arguments
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and ended.returncode:
            output = ended.stdout[-2000:] + ended.stderr[-4000:]
            raise AssertionError(f"{' '.join(command)}\n{output}")
        return ended.stdout
