"""The base of the errors that state machines raise."""


class IllegalTransition(Exception):
    """The state of an object does not allow an action; `subject` is the object's id."""

    def __init__(self, kind: str, subject: str, state: str, action: str) -> None:
        """For example: order, ord_1, EXPIRED, cancelled."""
        super().__init__(f"{kind} {subject} cannot be {action}: it is {state}")
        self.subject = subject
