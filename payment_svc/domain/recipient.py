"""The recipient of an access code."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipient:
    """The person who receives an order's access code by mail; `email` in normal form."""

    email: str
    display_name: str
    language_code: str
