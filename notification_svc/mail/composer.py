"""Composes the mail of a notification from the templates of its event type and language."""

from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime as format_mail_date
from email.utils import quote
from typing import Any

from babel.dates import format_datetime
from babel.numbers import format_currency
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from notification_svc.domain.contents import (
    AccessCodeContent,
    FeedbackContent,
    Money,
    RefundContent,
    SessionCancelledContent,
)
from notification_svc.domain.notifications import Notification
from shared_model.currencies import decimals_of
from shared_model.display_name import normalise_display_name
from shared_model.mail_address import MailAddress

_MAX_PLAIN_NAME = 50
_LOCALES = {"en": "en_GB", "zh-CN": "zh_CN"}


class _AddressHeader(str):
    """A header with one address, made of its parts, and its text as shown.

    Python's own header would parse the text again, and decode what looks like an encoded word in a
    name or a local part (RFC 2047): even into line breaks.
    """

    __slots__ = ("address", "name")
    address: Address
    name: str

    @classmethod
    def of(cls, name: str, address: Address) -> "_AddressHeader":
        """The header `name`: Python keeps a value with its name as it is."""
        header = cls(_with_name(address.display_name, _addr_spec(address)))
        header.name, header.address = name, address
        return header


class _MailPolicy(EmailPolicy):
    """Writes address headers itself, and stores headers that need no encoding as they are.

    Python drops the quotes when it folds a long quoted name: a name with commas would turn into
    several addresses. And it parses each header as often as it is read or written, which takes
    three quarters of the time to compose a mail.
    """

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        return (name, value) if _is_plain(value) else super().header_store_parse(name, value)

    def header_fetch_parse(self, name: str, value: str) -> Any:
        return value if _is_plain(value) else super().header_fetch_parse(name, value)

    def fold(self, name: str, value: Any) -> str:
        if not isinstance(value, _AddressHeader):
            return str(super().fold(name, value))
        return f"{name}: {_format_address(value.address, name)}{self.linesep}"

    def fold_binary(self, name: str, value: Any) -> bytes:
        return self.fold(name, value).encode("utf-8" if self.utf8 else "ascii")


# Every mail server accepts 7 bits; text in other scripts is encoded. A local part in another script
# cannot be: its mail has headers in UTF-8 and needs a mail server with SMTPUTF8.
_POLICY = _MailPolicy(linesep="\r\n", cte_type="7bit")
_UTF8_POLICY = _POLICY.clone(utf8=True)


def _is_plain(value: Any) -> bool:
    """Whether a header's value needs no encoding: printable ASCII without an encoded word."""
    return type(value) is str and value.isascii() and value.isprintable() and "=?" not in value


def _with_name(name: str, addr_spec: str) -> str:
    return f'"{quote(name)}" <{addr_spec}>' if name else addr_spec


def _addr_spec(address: Address) -> str:
    """Python would not quote a local part for the dots in it."""
    return str(MailAddress(address.username, address.domain))


def _format_address(address: Address, header: str) -> str:
    name, addr_spec = address.display_name, _addr_spec(address)
    plain = name.isascii() and "=?" not in name
    if plain and len(name) <= _MAX_PLAIN_NAME:
        return _with_name(name, addr_spec)
    encoded = Header(name, "utf-8", header_name=header).encode(linesep="\r\n")
    return f"{encoded}\r\n <{addr_spec}>"


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """Subject and body of a mail, as text and as HTML."""

    subject: str
    text: str
    html: str


class MailComposer:
    """Renders templates and builds messages with one sender."""

    def __init__(self, sender: Address) -> None:
        self._sender = sender
        self._templates = Environment(
            loader=PackageLoader("notification_svc"),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
        )

    @property
    def sender(self) -> str:
        """The address of the sender."""
        return _addr_spec(self._sender)

    def render(self, notification: Notification) -> RenderedMail:
        """Renders the templates of the notification's event type and language."""
        context = _template_context(notification)
        folder = f"{notification.event_type}/{notification.recipient.language_code}"
        subject = self._render(f"{folder}/subject.txt", context).strip()
        return RenderedMail(
            subject=subject,
            text=self._render(f"{folder}/body.txt", context),
            html=self._render(f"{folder}/body.html", {**context, "subject": subject}),
        )

    def compose(self, notification: Notification) -> EmailMessage:
        """The message; composed again, it is identical and has the same Message-ID.

        Raises MalformedMailAddress.
        """
        rendered = self.render(notification)
        address = MailAddress.parse(notification.recipient.email)
        message = EmailMessage(policy=_UTF8_POLICY if address.needs_smtputf8 else _POLICY)
        recipient = Address(_name(notification), address.local_part, address.domain)
        message["From"] = _AddressHeader.of("From", self._sender)
        message["To"] = _AddressHeader.of("To", recipient)
        message["Subject"] = rendered.subject
        message["Date"] = format_mail_date(notification.created_at.astimezone(UTC))
        message["Message-ID"] = notification.message_id
        message["Auto-Submitted"] = "auto-generated"  # requests no automatic replies
        message.set_content(rendered.text)
        message.add_alternative(rendered.html, subtype="html")
        # No encoded text contains "=_", and nobody who wrote a text knows the id.
        message.set_boundary(f"=_{notification.notification_id}")
        # Last: setting the content removes this header or moves it to a part.
        message["Content-Language"] = notification.recipient.language_code
        return message

    def _render(self, name: str, context: dict[str, Any]) -> str:
        return self._templates.get_template(name).render(context)


def _template_context(notification: Notification) -> dict[str, Any]:
    """The variables of the templates: common ones, and those of the kind of content."""
    locale = _LOCALES[notification.recipient.language_code]
    context: dict[str, Any] = {
        "display_name": _name(notification),
        "order_id": notification.order_id,
    }
    match notification.content:
        case AccessCodeContent() as code:
            # Cut to the second: the code is valid at least until the time in the mail.
            expire_at = code.expire_at.astimezone(UTC).replace(microsecond=0)
            context |= {
                "access_code": code.access_code,
                "product_id": code.product_id,
                "expire_at": format_datetime(expire_at, "medium", tzinfo=UTC, locale=locale),
                "expire_at_iso": expire_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        case RefundContent() as refund:
            context |= {
                "refund_id": refund.refund_id,
                "amount": _format_amount(refund.amount, locale),
                "scope": str(refund.scope),
            }
        case SessionCancelledContent() as session:
            context |= {
                "session_id": session.session_id,
                "product_id": session.product_id,
                "reason": str(session.reason),
                "was_started": session.was_started,
            }
        case FeedbackContent() as feedback:
            context |= {
                "session_id": feedback.session_id,
                "feedback_id": feedback.feedback_id,
                "product_id": feedback.product_id,
            }
    return context


def _format_amount(amount: Money, locale: str) -> str:
    """An amount with its ISO 4217 code, such as `CNY 1,234.50`: `¥` alone is ambiguous."""
    decimals = decimals_of(amount.currency_code)
    value = Decimal(amount.amount_minor).scaleb(-decimals)
    pattern = f"¤¤\u00a0#,##0{'.' + '0' * decimals if decimals else ''}"
    return format_currency(
        value, amount.currency_code, pattern, locale=locale, currency_digits=False
    ).replace("\u00a0", " ")


def _name(notification: Notification) -> str:
    """The recipient's name in one line; "" if there is none."""
    return " ".join(normalise_display_name(notification.recipient.display_name).split())
