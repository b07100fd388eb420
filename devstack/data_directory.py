"""The data directory of a stack: used by one process at a time, and removable."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from devstack.errors import AlreadyRunningError


@contextmanager
def exclusive_use(directory: Path) -> Iterator[None]:
    """Locks the directory; the kernel releases the lock if the process dies for any reason.

    Creates the directory if needed. Raises AlreadyRunningError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "lock"
    lock = FileLock(
        file, mode=0o600, blocking=False, thread_local=False, on_acquired=_write_process_id
    )
    try:
        lock.acquire()
    except Timeout:
        holder = file.read_text("utf-8", errors="replace").strip()
        raise AlreadyRunningError(directory, holder) from None
    try:
        yield
    finally:
        lock.release()


def _write_process_id(file: int) -> None:
    os.truncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)


def remove(directory: Path, marker: Path) -> None:
    """Removes the directory with its contents, `marker` last.

    While the marker exists, an interrupted removal can be recognized and repeated.
    """
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != marker:
            path.unlink()
    marker.unlink()
    directory.rmdir()
