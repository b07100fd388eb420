"""Errors of the stack. Their messages are shown to the user at the terminal."""

from pathlib import Path


class DevstackError(Exception):
    """The stack cannot do what was requested."""

    exit_status = 1


class InvalidSetting(DevstackError):
    """An environment variable cannot be used; the message does not repeat a URL."""

    exit_status = 2

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"environment variable {variable}: {problem}")


class AlreadyRunningError(DevstackError):
    """Another process uses the data directory."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(
            f"{directory} is in use by another devstack (process {holder or 'unknown'}). "
            "Stop that one first, or use another data directory."
        )


class ProcessFailedError(DevstackError):
    """A process exited that should keep running, or a one-time step failed."""

    def __init__(self, name: str, status: int, log: Path, tail: str) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
        super().__init__(f"{name} {how}. {_output(log, tail)}")


class NotReadyError(DevstackError):
    """A process did not become ready, or a one-time step did not finish, within its time limit."""

    def __init__(self, name: str, seconds: float, log: Path, tail: str) -> None:
        super().__init__(f"{name} was not ready after {seconds:g} s. {_output(log, tail)}")


class ServerMissingError(DevstackError):
    """There is no executable of an embedded server for this platform."""

    def __init__(self, server: str, package: str, setting: str, example: str) -> None:
        super().__init__(
            f"{server} is not available: the package {package} is not installed or has no build "
            f"for this platform. Set {setting} to a server of your own, for example {example}"
        )


def _output(log: Path, tail: str) -> str:
    output = f"Last lines of its output:\n{tail}" if tail else "It wrote no output."
    return f"{output}\nComplete log: {log}"
