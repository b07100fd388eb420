"""What ends a command: a line on standard error and a status of 1, never a traceback."""


class Problem(Exception):
    """The command can't do what was asked; the text is what a person reads."""


class CallFailed(Problem):
    """A service answered a call with an error, or not at all."""

    def __init__(self, service: str, text: str, code: str, reason: str) -> None:
        """`code` is the gRPC status, `reason` the UPPER_SNAKE one if the service gave one."""
        super().__init__(text)
        self.service, self.code, self.reason = service, code, reason
