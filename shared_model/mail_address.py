"""Mail addresses: parsed by the rules of RFC 5321 and 6531, and written in one form.

Domains in other scripts become A-labels (IDNA 2008), so that every mail server takes them. Nothing
is looked up in the DNS.
"""

import re
from dataclasses import dataclass

import email_validator
from email_validator import EmailNotValidError, validate_email

# Mail servers of an organization serve names such as `mail.local`; the setting is the library's.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_MAX_LOCAL_PART_OCTETS = 64
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-"
_DOT_ATOM = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")
# Some providers issued addresses with dots at other places: they are valid in quotes.
_ATOMS_AND_DOTS = re.compile(rf"[.{_ATEXT}]+")
MALFORMED_ZH = "必须是有效的邮件地址"


class MalformedMailAddress(ValueError):
    """The text is not a mail address; the message says why and does not contain it."""


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A mail address: the local part without quotes, the domain in lower case and A-labels."""

    local_part: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> "MailAddress":
        """Parses an address without display name; raises MalformedMailAddress.

        A local part with a dot at an end or with two dots in a row may stand without its quotes.
        """
        local_part, _, domain = text.rpartition("@")
        if _ATOMS_AND_DOTS.fullmatch(local_part) and not _DOT_ATOM.fullmatch(local_part):
            text = f'"{local_part}"@{domain}'
        try:
            found = validate_email(
                text,
                allow_smtputf8=True,
                allow_quoted_local=True,
                check_deliverability=False,
                globally_deliverable=False,
            )
        except EmailNotValidError as error:
            raise MalformedMailAddress(_reason(str(error))) from None
        if len(found.local_part.encode()) > _MAX_LOCAL_PART_OCTETS:
            raise MalformedMailAddress(
                _reason("The part before the @-sign is longer than 64 octets.")
            )
        return cls(_unquoted(found.local_part), found.ascii_domain)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only mail servers with the extension SMTPUTF8 take it (RFC 6531)."""
        return not self.local_part.isascii()

    def __str__(self) -> str:
        """The address, with its local part in quotes if that is needed."""
        if _DOT_ATOM.fullmatch(self.local_part):
            return f"{self.local_part}@{self.domain}"
        escaped = re.sub(r'(["\\])', r"\\\1", self.local_part)
        return f'"{escaped}"@{self.domain}'


def _reason(sentence: str) -> str:
    return f"must be a mail address: {sentence[:1].lower()}{sentence[1:]}".rstrip(".")


def _unquoted(local_part: str) -> str:
    if not local_part.startswith('"'):
        return local_part
    return re.sub(r"\\(.)", r"\1", local_part[1:-1])
