"""Keeps secrets out of what people read: access codes and mail addresses are masked."""

import re

_SYMBOL = "[0-9A-Za-z]"
# Four groups of four, with or without dashes; not a part of a longer word such as a ULID.
_ACCESS_CODE = re.compile(
    rf"(?<![0-9A-Za-z_-])(?:{_SYMBOL}{{4}}-){{3}}({_SYMBOL}{{4}})(?![0-9A-Za-z-])"
    r"|(?<![0-9A-Za-z_-])(?=[0-9A-Za-z]*[0-9])[0-9A-HJ-KM-NP-TV-Z]{12}"
    r"([0-9A-HJ-KM-NP-TV-Z]{4})(?![0-9A-Za-z_-])"
)
_MAIL_ADDRESS = re.compile(
    r"([A-Za-z0-9])[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]*@([A-Za-z0-9-]+\.[A-Za-z0-9.-]+)"
)


def mask(text: str) -> str:
    """Text with access codes cut to their last four symbols, mail addresses to their domain."""
    text = _ACCESS_CODE.sub(lambda m: f"****-****-****-{m.group(1) or m.group(2)}", text)
    return _MAIL_ADDRESS.sub(r"\1***@\2", text)
