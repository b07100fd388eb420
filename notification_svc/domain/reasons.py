"""Replies of mail servers made safe to store: one line, without code and address."""

import re

MAX_REASON_LENGTH = 500


def one_line(text: str) -> str:
    """Text in one line of visible characters."""
    line = " ".join(text.split())
    return "".join(symbol if symbol.isprintable() else "?" for symbol in line)


def without_address(text: str, email: str) -> str:
    """Text without the address, and without its local part."""
    local_part = email.rpartition("@")[0]
    written = dict.fromkeys((local_part, local_part.strip('"')))
    names = "|".join(map(re.escape, written))
    address = rf"{re.escape(email)}|(?<!\w)(?:{names})(?!\w)"
    return re.sub(address, "***", text, flags=re.IGNORECASE)
