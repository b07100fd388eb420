"""The outcomes of an attempt to send a mail."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accepted:
    """The mail server accepted the mail."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """The mail server was unavailable or replied with a temporary failure (4xx).

    `every_mail`: the cause concerns every mail, not this one. `possibly_delivered`: the reply was
    lost after the mail had been transferred, so that the server may have accepted it.
    """

    reason: str
    every_mail: bool = False
    possibly_delivered: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The mail server refused this mail permanently; `bad_address`: every mail to its address."""

    reason: str
    bad_address: bool = False


Outcome = Accepted | Deferred | Refused
