"""Redaction: masks secrets in all texts that people read: logs, error messages, operators' views.

Fields that hold a secret are masked as such: those that a contract marks with `debug_redact`, and
those of a log entry with such a name. In other texts, mail addresses and the values that a database
error quotes are masked. A program adds the rules of its domain.
"""

import re
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

# Texts of clients are masked too, and must not cause long backtracking: a run of characters is
# scanned once, since it can be given back nowhere, and since no match begins within one.
_LOCAL = r"""[^\s"()<>\[\],;@＠]"""  # noqa: RUF001  full-width forms are typed, too
_OPENING = "[`'‘“«‹（【「『《〈{]{0,3}"  # noqa: RUF001  a quote or bracket before an address stays
_MAIL_ADDRESS = re.compile(rf"(?<!{_LOCAL})({_OPENING}){_LOCAL}++(?=[@＠]\S)")  # noqa: RUF001
_QUOTED_MAIL_ADDRESS = re.compile(r'"(?:[^"\\\n]|\\.){1,256}"(?=@\S)')
_DOMAIN = re.compile(r"""[^\s"'()<>\[\],:;@]{1,255}""")
# A text whose secret a rule has masked: only the end of the secret is left.
_ONE_SECRET = re.compile(r"(?:\*+-)+\w{1,4}")
_SECRET_LOG_FIELDS = frozenset({"email", "recipient_email", "access_code"})
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
    """Masks mail addresses except their domain, quoted database values, and domain secrets."""
    text = _mask_by_rules(_PARAMETER.sub(r"\1 ***", _ROW.sub(r"\1***", text)))
    text = _QUOTED_MAIL_ADDRESS.sub('"***"', text)
    return _MAIL_ADDRESS.sub(r"\1***", text)


def mask_field(text: str) -> str:
    """Masks the text of a field that holds a secret, also if it does not look like one.

    A mail address keeps its domain, a secret of a domain what its rule leaves of it, any other text
    nothing.
    """
    _, at, domain = text.strip().rpartition("@")
    if at and _DOMAIN.fullmatch(domain) and mask(domain) == domain:
        return f"***@{domain}"
    masked = _mask_by_rules(text.strip())
    return masked if _ONE_SECRET.fullmatch(masked) or not text else "***"


def _mask_by_rules(text: str) -> str:
    for rule in _rules:
        text = rule(text)
    return text


def mask_values(value: Any) -> Any:
    """Masks every text in a value of dictionaries and lists; other values stay."""
    match value:
        case str():
            return mask(value)
        case dict():
            return {
                key: mask_field(item)
                if key in _SECRET_LOG_FIELDS and isinstance(item, str)
                else mask_values(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [mask_values(item) for item in value]
        case _:
            return value


def mask_message(message: Message) -> None:
    """Masks every text in a message, and wholly those that its contract marks as secret."""
    for field, value in message.ListFields():
        hide = mask_field if field.GetOptions().debug_redact else mask
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        values: Any = value if field.is_repeated else [value]
        if is_map:
            _mask_map(value, hide)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in values:
                mask_message(part)
        elif field.type == FieldDescriptor.TYPE_STRING:
            hidden = [hide(text) for text in values]
            if field.is_repeated:
                value[:] = hidden
            else:
                setattr(message, field.name, hidden[0])


def _mask_map(entries: Any, hide: Callable[[str], str]) -> None:
    for key, value in list(entries.items()):
        if isinstance(value, Message):
            mask_message(value)
        elif isinstance(value, str):
            entries[key] = hide(value)
