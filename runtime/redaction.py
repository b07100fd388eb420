"""Redaction: masks secrets in all texts that people read: logs, error messages, operators' views.

Mail addresses and the values that a database error quotes are masked. A program adds the rules of
its domain.
"""

import re
from collections.abc import Callable

# Every part is bounded: texts of clients are masked too, and must not cause long backtracking.
_LOCAL = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]"
_MAIL_ADDRESS = re.compile(
    rf"(?<!{_LOCAL})({_LOCAL}){_LOCAL}{{0,255}}@([A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{1,8}})"
)
# A value may hold line breaks: the detail ends where the error text or the traceback continues.
_ROW = re.compile(
    r"(DETAIL: {1,2})(?:Failing row contains|Key) .*?"
    r"(?=\n[ |]*(?:\[SQL|HINT:)|\n[ |]*\n[ |]*(?:The above|During handling)|\Z)",
    re.DOTALL,
)
_PARAMETER = re.compile(r"(invalid input for query argument \$\d+:) [^\n]*")


# What a domain keeps secret, registered by its program: each rule masks one kind of secret.
_rules: list[Callable[[str], str]] = []


def add_rule(rule: Callable[[str], str]) -> None:
    """Adds a rule for the secrets of a domain; a rule that is there already is not added again."""
    if rule not in _rules:
        _rules.append(rule)


def mask(text: str) -> str:
    """Masks mail addresses down to their domain, quoted database values, and domain secrets."""
    text = _PARAMETER.sub(r"\1 ***", _ROW.sub(r"\1***", text))
    for rule in _rules:
        text = rule(text)
    return _MAIL_ADDRESS.sub(r"\1***@\2", text)
