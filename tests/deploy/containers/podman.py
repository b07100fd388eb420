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
_STORAGE = """
    [storage]
    driver = "overlay"
    graphroot = "{directory}/store"
    runroot = "{directory}/run"
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
        configuration, storage = directory / "containers.conf", directory / "storage.conf"
        configuration.write_text(dedent(_CONFIGURATION))
        storage.write_text(dedent(_STORAGE).format(directory=directory))
        self.environment: Mapping[str, str] = {
            **os.environ,
            "CONTAINERS_CONF": str(configuration),
            "CONTAINERS_STORAGE_CONF": str(storage),
        }

    def run(self, *arguments: str, check: bool = True, seconds: float = _SECONDS) -> str:
        """Runs podman; returns what it prints. Its errors are part of a failure's message."""
        return self._output(["podman", *arguments], check=check, seconds=seconds)

    def build(self, context: Path, tag: str, *arguments: str) -> None:
        """Builds an image from a context with a Containerfile; nothing is downloaded."""
        command = ["buildah", "build", *BUILD_OPTIONS, *arguments, "--tag", tag, str(context)]
        self._output(command, check=True, seconds=_SECONDS)

    def logs(self, container: str) -> str:
        """The last lines of a container."""
        return self._output(["podman", "logs", "--tail", "20", container], errors_too=True)

    def remove_everything(self) -> None:
        """Removes the containers, volumes and images of this store, also after a failure.

        Networks are no part of a store: who creates one removes it.
        """
        for arguments in (
            ("rm", "--all", "--force", "--time", "0"),
            ("volume", "prune", "--force"),
            ("rmi", "--all", "--force"),
        ):
            self.run(*arguments, check=False)

    def _output(
        self,
        command: list[str],
        *,
        check: bool = False,
        seconds: float = _SECONDS,
        errors_too: bool = False,
    ) -> str:
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
        return ended.stdout + ended.stderr if errors_too else ended.stdout
