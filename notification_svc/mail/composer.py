"""Makes the mail of a notification: text and HTML from the templates of its event and language."""

from dataclasses import dataclass
from datetime import UTC
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from notification_svc.domain.contents import (
    AccessCodeContent,
    FeedbackContent,
    RefundContent,
    SessionCancelledContent,
)
from notification_svc.domain.notifications import Notification

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


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """What a person reads."""

    subject: str
    text: str
    html: str


class MailComposer:
    """The templates, and whom the mails come from."""

    def __init__(self, sender: Address) -> None:
        self._sender = sender
        self._templates = Environment(
            loader=PackageLoader("notification_svc"),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
        )

    def write(self, notification: Notification) -> RenderedMail:
        """What the mail says, by the templates of its event and language."""
        facts = _template_context(notification)
        folder = f"{notification.event_type}/{notification.recipient.language_code}"
        subject = self._render(f"{folder}/subject.txt", facts).strip()
        return RenderedMail(
            subject=subject,
            text=self._render(f"{folder}/body.txt", facts),
            html=self._render(f"{folder}/body.html", {**facts, "subject": subject}),
        )

    def compose(self, notification: Notification) -> EmailMessage:
        """The mail; made again, it says the same under the same Message-ID."""
        letter = self.write(notification)
        mail = EmailMessage(policy=_POLICY)
        mail["From"] = self._sender
        mail["To"] = _address(notification)
        mail["Subject"] = letter.subject
        mail["Date"] = format_datetime(notification.created_at.astimezone(UTC))
        mail["Message-ID"] = notification.message_id
        mail["Auto-Submitted"] = "auto-generated"  # asks for no "I am on holiday" in return
        mail.set_content(letter.text)
        mail.add_alternative(letter.html, subtype="html")
        # At the end: setting content takes headers of this kind away, or to one of the parts.
        mail["Content-Language"] = notification.recipient.language_code
        return mail

    def _render(self, name: str, facts: dict[str, Any]) -> str:
        return self._templates.get_template(name).render(facts)


def _template_context(notification: Notification) -> dict[str, Any]:
    """What a template may name: of every mail, and of its kind of content."""
    facts: dict[str, Any] = {
        "display_name": notification.recipient.display_name,
        "order_id": notification.order_id,
    }
    match notification.content:
        case AccessCodeContent() as code:
            # Cut to the second: the code is valid for at least as long as the mail says.
            expire_at = code.expire_at.astimezone(UTC).replace(microsecond=0, tzinfo=None)
            facts |= {
                "access_code": code.access_code,
                "product_id": code.product_id,
                "expire_at": expire_at.isoformat(" "),
                "expire_at_iso": f"{expire_at.isoformat()}Z",
            }
        case RefundContent() as paid:
            facts |= {
                "refund_id": paid.refund_id,
                "amount": str(paid.amount),
                "scope": str(paid.scope),
            }
        case SessionCancelledContent() as session:
            facts |= {
                "session_id": session.session_id,
                "product_id": session.product_id,
                "reason": str(session.reason),
                "was_started": session.was_started,
            }
        case FeedbackContent() as feedback:
            facts |= {
                "session_id": feedback.session_id,
                "feedback_id": feedback.feedback_id,
                "product_id": feedback.product_id,
            }
    return facts


def _address(notification: Notification) -> Address:
    name = " ".join(notification.recipient.display_name.split())
    local_part, _, domain = notification.recipient.email.rpartition("@")
    return Address(name, local_part, domain)
