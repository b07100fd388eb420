"""What can go wrong with the stack. The messages are for the person at the terminal."""

from pathlib import Path


class DevstackError(Exception):
    """The stack can't do what was asked."""


class AlreadyRunningError(DevstackError):
    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(
            f"{directory} is in use by another devstack (process {holder or 'unknown'}). "
            "Stop that one first, or give this one another data directory."
        )


class ProcessFailedError(DevstackError):
    """A process ended that should have run on, or a one-time step failed."""

    def __init__(self, name: str, status: int, log: Path, tail: str) -> None:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        said = f"Its last lines:\n{tail}" if tail else "It said nothing."
        super().__init__(f"{name} {how}. {said}\nAll of it: {log}")


class NotReadyError(DevstackError):
    def __init__(self, name: str, seconds: float, log: Path, tail: str) -> None:
        said = f"Its last lines:\n{tail}" if tail else "It said nothing."
        super().__init__(f"{name} was not ready after {seconds:g} s. {said}\nAll of it: {log}")


class ServerMissingError(DevstackError):
    def __init__(self, server: str, package: str, setting: str, example: str) -> None:
        super().__init__(
            f"There is no {server} here: the package {package} is not installed or has no build "
            f"for this platform. Name a server of your own by {setting}, such as {example}"
        )
