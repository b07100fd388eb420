"""Reads the parts of requests as domain values."""

from payment.v1 import access_code_pb2, money_pb2
from payment_svc.domain.money import Money
from payment_svc.domain.recipient import Recipient
from shared_model.display_name import normalise_display_name
from shared_model.mail_address import MailAddress

_DEFAULT_LANGUAGE = "zh-CN"


def from_money(message: money_pb2.Money) -> Money:
    """Reads an amount."""
    return Money(message.amount_minor, message.currency_code)


def from_recipient(message: access_code_pb2.Recipient) -> Recipient:
    """Reads a recipient; the default language is Chinese. Raises MalformedMailAddress."""
    return Recipient(
        str(MailAddress.parse(message.email)),
        normalise_display_name(message.display_name),
        message.language_code or _DEFAULT_LANGUAGE,
    )
