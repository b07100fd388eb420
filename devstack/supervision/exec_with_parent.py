"""Becomes another program that dies with the process that started it.

    python -I -S tether.py PARENT SIGNAL USER DIRECTORY COMMAND [ARGUMENT...]

Where the kernel can (Linux), SIGNAL reaches the program when PARENT dies, even of SIGKILL.
USER is `uid:gid` to drop to, or empty. A script of its own, standard library only, so that no
Python code runs between fork and exec of a process that has threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def _drop_to(user: str) -> None:
    uid, gid = (int(part) for part in user.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _die_with(parent: int, signal_number: int) -> None:
    if sys.platform != "linux":
        return
    # After the change of user: the kernel forgets the wish when credentials change.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the stack ended while this was starting")


def main(arguments: list[str]) -> None:
    parent, signal_number, user, directory, *command = arguments
    if user:
        _drop_to(user)
    _die_with(int(parent), int(signal_number))
    os.chdir(directory)
    os.execvp(command[0], command)  # noqa: S606 - that's what it is for


if __name__ == "__main__":
    main(sys.argv[1:])
