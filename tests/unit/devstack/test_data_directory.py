"""A data directory is used by one process at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.data_directory import exclusive_use, remove
from devstack.errors import AlreadyRunningError

_HOLD_UNTIL_EOF = """
import sys
from pathlib import Path
from devstack.data_directory import exclusive_use
with exclusive_use(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_user_is_rejected_with_the_process_id_of_the_first(tmp_path: Path) -> None:
    with (
        exclusive_use(tmp_path),
        pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}") as rejected,
        exclusive_use(tmp_path),
    ):
        pass
    assert str(tmp_path) in str(rejected.value)


def test_a_directory_can_be_used_again_after_its_release(tmp_path: Path) -> None:
    for _ in range(2):
        with exclusive_use(tmp_path / "new"):
            assert (tmp_path / "new").is_dir()


def test_the_lock_of_another_process_is_respected_until_that_process_is_killed(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _HOLD_UNTIL_EOF, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with (
            pytest.raises(AlreadyRunningError, match=f"process {holder.pid}"),
            exclusive_use(tmp_path),
        ):
            pass
        holder.kill()
    with exclusive_use(tmp_path):
        pass


def test_a_removed_directory_is_gone_with_its_contents_and_its_lock_is_released(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "data"
    with exclusive_use(directory):
        marker = directory / "secrets.json"
        marker.write_text("{}")
        (directory / "logs").mkdir()
        (directory / "logs" / "payment.log").write_text("line")
        (directory / "link").symlink_to(tmp_path)
        remove(directory, marker)
    assert list(tmp_path.iterdir()) == []
    with exclusive_use(directory):
        pass
