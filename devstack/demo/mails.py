"""The mails that a stack's mailbox has kept, as a person finds them."""

import email.policy
import re
from email.message import EmailMessage
from pathlib import Path

ACCESS_CODE = re.compile(r"\b(?:[0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}\b")


def mails_to(directory: Path, address: str) -> list[EmailMessage]:
    """The mails delivered to an address, oldest first."""
    needle = f"Delivered-To: {address}\r\n".encode()
    return [
        email.message_from_bytes(content, policy=email.policy.default)
        for path in sorted(directory.glob("*.eml"))
        if needle in (content := path.read_bytes())
    ]


def plain_text(mail: EmailMessage) -> str:
    """A mail's text part."""
    part = mail.get_body(("plain",))
    return str(part.get_content()) if part else ""


def access_code_in(mail: EmailMessage) -> str:
    """The access code that a mail's text names; raises LookupError."""
    if found := ACCESS_CODE.search(plain_text(mail)):
        return found.group()
    raise LookupError("the mail names no access code")
