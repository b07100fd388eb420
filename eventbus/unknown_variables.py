"""Environment variables with a program's prefix that it does not read: usually misspelt."""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

# Kubernetes sets these in every container for a service named like the prefix.
_OF_KUBERNETES = re.compile(r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")


def unknown_variables(
    prefix: str, known: Collection[str], environ: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Each unknown variable, in order of name, with the known one it resembles, or ""."""
    for name in sorted(environ):
        upper = name.upper()
        if not upper.startswith(prefix) or upper in known:
            continue
        if not _OF_KUBERNETES.fullmatch(upper.removeprefix(prefix)):
            yield name, next(iter(get_close_matches(upper, known, 1)), "")


def warning_about(name: str, suggestion: str) -> str:
    """One line for people."""
    hint = f"; did you mean {suggestion}?" if suggestion else ""
    return f"environment variable {name} is not a setting and has no effect{hint}"
