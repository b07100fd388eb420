"""Reads the mails that a stack's mailbox has stored."""

import email.policy
import re
from email.message import EmailMessage
from pathlib import Path

from shared_model.access_code import ALPHABET

_GROUP = f"[{ALPHABET}]{{4}}"
_ACCESS_CODE = re.compile(rf"\b{_GROUP}-{_GROUP}-{_GROUP}-{_GROUP}\b")


def mails_to(directory: Path, address: str) -> list[EmailMessage]:
    """The mails delivered to an address, oldest first."""
    header = f"Delivered-To: {address}\r\n".encode()
    return [
        email.message_from_bytes(content, policy=email.policy.default)
        for path in sorted(directory.glob("*.eml"))
        if header in (content := path.read_bytes())
    ]


def plain_text(mail: EmailMessage) -> str:
    """The text/plain part of a mail; "" if it has none."""
    part = mail.get_body(("plain",))
    return str(part.get_content()) if part else ""


def access_code_in(mail: EmailMessage) -> str:
    """The access code in a mail's text; raises LookupError if there is none."""
    if match := _ACCESS_CODE.search(plain_text(mail)):
        return match.group()
    raise LookupError("the mail contains no access code")
