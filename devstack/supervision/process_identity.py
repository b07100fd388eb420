"""What a process id means: whether still the same process, and which started which."""

import os
import shutil
import subprocess
from pathlib import Path

_PROC = Path("/proc")


def identify(pid: int) -> str | None:
    """A text that no other process has had, None if there is no such process alive."""
    if (_PROC / "self" / "stat").exists():
        return _from_proc(pid)
    return _from_ps(pid)


def children_of(pid: int) -> list[int]:
    """The processes that this one started and has not reaped yet."""
    if (_PROC / "self" / "stat").exists():
        pairs = [(int(path.name), _stat_fields(path)) for path in _PROC.glob("[0-9]*")]
        return [child for child, fields in pairs if fields and int(fields[1]) == pid]
    lines = [line.split() for line in _ps("-axo", "pid=,ppid=").splitlines()]
    return [int(child) for child, parent in lines if int(parent) == pid]


def _from_proc(pid: int) -> str | None:
    fields = _stat_fields(_PROC / str(pid))
    if not fields or fields[0] in "ZX":  # dead, and perhaps never reaped by a careless init
        return None
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {fields[19]}"


def _stat_fields(process: Path) -> list[str]:
    """Fields 3 (state), 4 (parent) and on; none if there is no such process."""
    try:
        stat = (process / "stat").read_text()
    except OSError:
        return []
    return stat.rpartition(")")[2].split()  # the name in brackets may hold anything


def _from_ps(pid: int) -> str | None:
    state, _, started = _ps("-o", "stat=,lstart=", "-p", str(pid)).strip().partition(" ")
    return started.strip() if state and not state.startswith("Z") else None


def _ps(*options: str) -> str:
    answer = subprocess.run(  # noqa: S603 - fixed arguments
        [shutil.which("ps") or "/bin/ps", *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    return answer.stdout
