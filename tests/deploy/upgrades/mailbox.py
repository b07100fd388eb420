"""The mails that the mailbox has stored, each read once: the load asks for them all the time."""

import email.policy
from collections import defaultdict
from email.message import EmailMessage
from pathlib import Path


class Mailbox:
    """The mails by the address that they were delivered to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: set[Path] = set()
        self._mails: defaultdict[str, list[EmailMessage]] = defaultdict(list)

    def mails_to(self, address: str) -> list[EmailMessage]:
        """The mails delivered to an address, oldest first."""
        for path in sorted(set(self._directory.glob("*.eml")) - self._read):
            self._read.add(path)
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            self._mails[str(mail["Delivered-To"])].append(mail)
        return self._mails[address]
