"""Runs commands of `opsctl`, each in a fork of one process that has imported it.

The import takes more time than most commands. Each request is a line of JSON on standard input:
the arguments, and the text of the command's standard input. Each reply is a line of JSON: exit
status, standard output, standard error. A command that takes too long is killed by SIGALRM.
"""

import gc
import json
import os
import signal
import sys
from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import Any

# What the forks share.
import typer.rich_utils  # noqa: F401

import opsctl.command_line  # noqa: F401
from opsctl.__main__ import main

_TIMEOUT_SECONDS = 60


def _run(arguments: Sequence[str], stdin: str) -> tuple[int, str, str]:
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        if not (pid := os.fork()):
            signal.alarm(_TIMEOUT_SECONDS)
            for number, file in enumerate((given, out, err)):
                os.dup2(file.fileno(), number)
            sys.argv = ["opsctl", *arguments]
            main()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        return status, out.read().decode(), err.read().decode()


def _serve() -> None:
    """Answers one request after the other until standard input ends."""
    gc.freeze()  # halves the time that a fork takes to end
    # Not sys.stdin and sys.stdout: those are the commands' own, and their buffers are empty.
    with os.fdopen(os.dup(0)) as requests, os.fdopen(os.dup(1), "w") as replies:
        for request in requests:
            fields: dict[str, Any] = json.loads(request)
            replies.write(json.dumps(_run(**fields)) + "\n")
            replies.flush()


if __name__ == "__main__":
    _serve()
