"""Makes the mail of a notification: text and HTML from the templates of its event and language."""

from datetime import UTC
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from notification_svc.domain import Notification

_LONGEST_PLAIN_NAME = 50


class _LetterPolicy(EmailPolicy):
    """Writes addresses in a form of its own.

    Where Python folds a long quoted name, it forgets the quotes, and a name with commas in it turns
    into further addresses.
    """

    def fold(self, name: str, value: Any) -> str:
        addresses = getattr(value, "addresses", None)
        if addresses is None:
            return str(super().fold(name, value))
        written = ", ".join(_written(address, name) for address in addresses)
        return f"{name}: {written}{self.linesep}"

    def fold_binary(self, name: str, value: Any) -> bytes:
        return self.fold(name, value).encode("ascii")


# Every mail server takes 7 bits; text in other scripts is then encoded.
_POLICY = _LetterPolicy(linesep="\r\n", cte_type="7bit")


def _written(address: Address, header: str) -> str:
    name = address.display_name
    plain = name.isascii() and "=?" not in name
    if plain and len(name) <= _LONGEST_PLAIN_NAME:
        return str(address)
    encoded = Header(name, "utf-8", header_name=header).encode(linesep="\r\n")
    return f"{encoded}\r\n <{address.addr_spec}>"


class Letters:
    """The templates, and whom the mails come from."""

    def __init__(self, sender: Address) -> None:
        self._sender = sender
        self._templates = Environment(
            loader=PackageLoader("notification_svc"),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
        )

    def compose(self, notification: Notification) -> EmailMessage:
        """The mail; made again, it says the same under the same Message-ID."""
        subject = self._render(notification, "subject.txt").strip()
        letter = EmailMessage(policy=_POLICY)
        letter["From"] = self._sender
        letter["To"] = _address(notification)
        letter["Subject"] = subject
        letter["Date"] = format_datetime(notification.created_at.astimezone(UTC))
        letter["Message-ID"] = notification.message_id
        letter["Auto-Submitted"] = "auto-generated"  # asks for no "I am on holiday" in return
        letter.set_content(self._render(notification, "body.txt"))
        letter.add_alternative(
            self._render(notification, "body.html", subject=subject), subtype="html"
        )
        # At the end: setting content takes headers of this kind away, or to one of the parts.
        letter["Content-Language"] = notification.recipient.language_code
        return letter

    def _render(self, notification: Notification, part: str, subject: str = "") -> str:
        recipient, issued = notification.recipient, notification.issued
        # Cut to the second: the code is valid for at least as long as the mail says.
        expire_at = issued.expire_at.astimezone(UTC).replace(microsecond=0, tzinfo=None)
        name = f"{notification.event_type}/{recipient.language_code}/{part}"
        return self._templates.get_template(name).render(
            subject=subject,
            display_name=recipient.display_name,
            access_code=issued.access_code,
            product_id=issued.product_id,
            expire_at=expire_at.isoformat(" "),
            expire_at_iso=f"{expire_at.isoformat()}Z",
            order_id=notification.order_id,
        )


def _address(notification: Notification) -> Address:
    name = " ".join(notification.recipient.display_name.split())
    local_part, _, domain = notification.recipient.email.rpartition("@")
    return Address(name, local_part, domain)
