"""Writing files that other processes read, and files with secrets."""

import os
from pathlib import Path


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Replaces a file; a reader sees the old content or the new one."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    _create(partial, text, mode)
    partial.replace(path)


def write_private(path: Path, text: str) -> None:
    """Replaces a file atomically by one that only its owner can read."""
    write_atomically(path, text, 0o600)


def write_new_private(path: Path, text: str) -> None:
    """Creates a file that only its owner can read; raises FileExistsError."""
    _create(path, text, 0o600)


def _create(path: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(f"{text}\n")
