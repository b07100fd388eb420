"""Replaces itself with another program that is signalled when the parent process dies.

    python -I -S exec_with_parent.py PARENT SIGNAL USER DIRECTORY COMMAND [ARGUMENT...]

On Linux, the kernel sends SIGNAL to the program when the process PARENT dies, even by SIGKILL.
USER is the `uid:gid` to switch to, or empty. This is a separate script that uses the standard
library only, so that no Python code runs between fork and exec of a process that has threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def _switch_user(user: str) -> None:
    uid, gid = (int(part) for part in user.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _request_signal_on_parent_death(parent: int, signal_number: int) -> None:
    if sys.platform != "linux":
        return
    # After the change of user: a change of credentials clears the setting in the kernel.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the parent process ended during the start")


def main(arguments: list[str]) -> None:
    parent, signal_number, user, directory, *command = arguments
    if user:
        _switch_user(user)
    _request_signal_on_parent_death(int(parent), int(signal_number))
    os.chdir(directory)
    os.execvp(command[0], command)  # noqa: S606 - the purpose of this script


if __name__ == "__main__":
    main(sys.argv[1:])
