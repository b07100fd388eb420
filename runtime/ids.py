"""Identifiers."""

from ulid import ULID


def new_id(prefix: str) -> str:
    """A new id that sorts by age, such as `ord_01J…`."""
    return f"{prefix}_{ULID()}"
