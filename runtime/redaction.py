"""Redaction: masks secrets in all texts that people read: logs, error messages, operators' views.

Fields that hold a secret are masked as such: those that a contract marks with `debug_redact`, and
those of a log entry with such a name. In other texts, mail addresses, signed tokens and the values
that a database error quotes are masked. A program adds the rules of its domain.

Every text passes the rules, whatever its field is called. Two short cuts make that cheap, and
change no result: identifiers as this system writes them hold no secret by their form, and the
results for short texts are cached, since most fields of a log entry repeat.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

# Texts of clients are masked too, and must not cause long backtracking: a run of characters is
# scanned once, since it can be given back nowhere, and since no match begins within one.
_LOCAL = r"""[^\s"()<>\[\],;@＠]"""  # noqa: RUF001  full-width forms are typed, too
_OPENING = "[`'‘“«‹（【「『《〈{]{0,3}"  # noqa: RUF001  a quote or bracket before an address stays
_MAIL_ADDRESS = re.compile(rf"(?<!{_LOCAL})({_OPENING}){_LOCAL}++(?=[@＠]\S)")  # noqa: RUF001
# In a URL, with its `@` encoded, once or twice. The part between two of them is a local part, too.
_ENCODED_LOCAL = _LOCAL.replace("@", "%@")
_ENCODED_MAIL_ADDRESS = re.compile(
    rf"(?:(?<!{_LOCAL})({_OPENING})|(?<=%40)|(?<=%2540))"
    rf"(?:{_ENCODED_LOCAL}|%(?!(?:25)?40))++(?=%(?:25)?40\S)"
)
_QUOTED_MAIL_ADDRESS = re.compile(r'"(?:[^"\\\n]|\\.){1,256}"(?=@\S)')
_DOMAIN = re.compile(r"""[^\s"'()<>\[\],:;@]{1,255}""")
# A text whose secret a rule has masked: only the end of the secret is left.
_ONE_SECRET = re.compile(r"(?:\*+-)+\w{1,4}")
_SECRET_LOG_FIELDS = frozenset({"email", "recipient_email", "access_code"})
_HIDDEN_LOG_FIELDS = frozenset(
    {"authorization", "card_number", "cvc", "password", "secret", "signature", "token"}
)
# A JSON Web Token, such as the bearer token of a call: its first part holds the encoded `{"`.
_SIGNED_TOKEN = re.compile(r"(?<![\w-])(?=[\w-]*eyJ)[\w-]++\.[\w-]++\.[\w-]*+")
# The value after such a name in a text: `password=…` of a URL or of libpq, and `"password": …`.
_NAMES = (
    *("password", "passwd", "secret", "token", "authorization", "signature"),
    *("cvc", "card_number", "card-number"),
)
_NAMED_SECRET = re.compile(
    rf"((?i:{'|'.join(f'(?<={name})' for name in _NAMES)})"
    r"""(?:["']?\s{0,3}=\s{0,3}|["']\s{0,3}:\s{0,3})(?i:(?:bearer|basic)\s{1,3})?)"""
    r"""(?:(["'])(?:\\.|(?!\2)[^\n\\])*+\2?|[^\s"'&;,()\[\]{}=]+)"""
)
# Ids with a prefix and a ULID or a UUID, trace ids, span ids of a traceparent. No rule may mask
# one: a test gives such texts to all rules.
_IDENTIFIER = re.compile(
    "(?:[a-z]{2,8}_)?(?:[0-7][0-9A-HJKMNP-TV-Z]{25}|[0-9a-f]{32})"
    "|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
)
_MIN_IDENTIFIER_LENGTH, _MAX_IDENTIFIER_LENGTH, _MAX_CACHED_LENGTH = 26, 41, 128
# Longer texts of log entries are cut: to search them takes seconds.
_MAX_LENGTH = 65_536
_MAX_DEPTH = 16
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1  # what JSON encoders and readers agree on
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
        _mask_short.cache_clear()
        _field.cache_clear()


def mask(text: str) -> str:
    """Masks mail addresses but their domain, tokens, quoted database values, domain secrets."""
    length = len(text)
    if _MIN_IDENTIFIER_LENGTH <= length <= _MAX_IDENTIFIER_LENGTH and _IDENTIFIER.fullmatch(text):
        return text
    return _mask_short(text) if length <= _MAX_CACHED_LENGTH else _mask_text(text)


def _mask_text(text: str) -> str:
    if "DETAIL: " in text:
        text = _ROW.sub(r"\1***", text)
    if "query argument" in text:
        text = _PARAMETER.sub(r"\1 ***", text)
    if "eyJ" in text:
        text = _SIGNED_TOKEN.sub("***", text)
    if _has_name_of_secret(text):
        text = _NAMED_SECRET.sub(r"\1\2***\2", text)
    text = _mask_by_rules(text)
    if "40" in text:
        text = _ENCODED_MAIL_ADDRESS.sub(r"\1***", text)
    if "@" in text or "＠" in text:  # noqa: RUF001
        text = _QUOTED_MAIL_ADDRESS.sub('"***"', text)
        text = _MAIL_ADDRESS.sub(r"\1***", text)
    return text


def _has_name_of_secret(text: str) -> bool:
    """Spares most texts the search for a value, which takes longer."""
    if "=" not in text and ":" not in text:
        return False
    lower = text.lower()
    return any(name in lower for name in _NAMES)


_mask_short = lru_cache(maxsize=4096)(_mask_text)


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


def mask_values(value: Any, depth: int = 0) -> Any:
    """Masks every text in a value, also dictionary keys; returns what JSON can hold.

    An object of another type becomes its `repr`, and so does what is nested too deeply. A float
    that is not finite and an integer of more than 64 bits become texts.
    """
    kind = type(value)
    if kind is str:
        return _mask_logged(value)
    if value is None or kind is bool:
        return value
    if kind is int and _MIN_INTEGER <= value <= _MAX_INTEGER:
        return value
    if kind is float and isfinite(value):
        return value
    return _mask_other(value, depth)


def mask_entry(entry: dict[Any, Any], depth: int = 0) -> dict[str, Any]:
    """Masks the keys and values of a dictionary, and wholly the values of secret fields."""
    masked = {}
    for key, value in entry.items():
        name, hide = _field(key if type(key) is str else _text_of(key))
        if hide:
            masked[name] = hide(value)
        else:  # most values are texts: spares them a call
            is_text = type(value) is str and len(value) <= _MAX_LENGTH
            masked[name] = mask(value) if is_text else mask_values(value, depth)
    return masked


@lru_cache(maxsize=1024)
def _field(name: str) -> tuple[str, Callable[[Any], str | None] | None]:
    """The masked name of a field, and what masks its value if it holds a secret by its name."""
    lower = name.lower()
    if lower in _SECRET_LOG_FIELDS:
        return mask(name), _mask_secret
    is_hidden = lower in _HIDDEN_LOG_FIELDS or lower.endswith(("_password", "_secret", "_token"))
    return mask(name), _hide if is_hidden else None


def _mask_logged(text: str) -> str:
    if (more := len(text) - _MAX_LENGTH) > 0:
        text = f"{text[:_MAX_LENGTH]}… ({more} more characters)"
    return mask(text)


def _mask_secret(value: Any) -> str | None:
    return mask_field(str.__str__(value)) if isinstance(value, str) else _hide(value)


def _hide(value: Any) -> str | None:
    return None if value is None else "***"


def _mask_other(value: Any, depth: int) -> Any:
    if isinstance(value, str):  # such as an enumeration's
        return mask(str.__str__(value))
    if depth < _MAX_DEPTH:
        if isinstance(value, dict):
            return mask_entry(value, depth + 1)
        if isinstance(value, list | tuple):
            return [mask_values(item, depth + 1) for item in value]
    if isinstance(value, int):
        number = int(value)
        return number if _MIN_INTEGER <= number <= _MAX_INTEGER else hex(number)
    return mask(_text_of(value))


def _text_of(value: Any) -> str:
    try:
        return str.__str__(value) if isinstance(value, str) else repr(value)
    except Exception as error:  # noqa: BLE001  a log entry must not fail because of a value
        return f"<{type(value).__name__} without repr: {type(error).__name__}>"


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
