"""What may become of an attempt to send a mail."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accepted:
    """The mail server took the mail."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """The mail server couldn't be reached, didn't answer, or asked to try later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The mail server will never take this mail, or any to this address if `bad_address`."""

    reason: str
    bad_address: bool = False


Outcome = Accepted | Deferred | Refused
