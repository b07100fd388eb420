"""The base of the errors that state machines raise."""


class IllegalTransition(Exception):
    """The present state does not allow an action. `subject` is the id of the object whose state rejects the action."""

    def __init__(self, kind: str, subject: str, state: str, action: str) -> None:
        """For example: order, ord_1, EXPIRED, cancelled."""
        super().__init__(f"{kind} {subject} cannot be {action}: it is {state}")
        self.subject = subject
