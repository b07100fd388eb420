"""Mail addresses: parsed by the rules of RFC 5321 and 6531, and written in one form.

Domains in other scripts become A-labels (IDNA 2008), so that every mail server takes them. Nothing
is looked up in the DNS.
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

import email_validator
from email_validator import EmailNotValidError, ValidatedEmail, validate_email

# Mail servers of an organization serve names such as `mail.local`; the setting is the library's.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_MAX_LOCAL_PART_OCTETS = 64
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-"
_DOT_ATOM = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")
# Some providers issued addresses with dots at other places: they are valid in quotes.
_ATOMS_AND_DOTS = re.compile(rf"[.{_ATEXT}]+")
_NUMBER = re.compile(r"\d+")
Fault: TypeAlias = tuple[str, str]  # in English and in Chinese
_NO_AT: Fault = ("it has no @", "缺少 @")
_NO_LOCAL_PART: Fault = ("nothing stands before the @", "@ 前没有内容")
_NO_DOMAIN: Fault = ("nothing stands after the @", "@ 后没有内容")
_BAD_LOCAL_PART: Fault = (
    "the part before the @ has characters that are not allowed there",
    "@ 前的部分含有不允许的字符",
)
_LONG_LOCAL_PART: Fault = (
    f"the part before the @ is longer than {_MAX_LOCAL_PART_OCTETS} octets",
    f"@ 前的部分超过 {_MAX_LOCAL_PART_OCTETS} 个字节",
)
_BAD_DOMAIN: Fault = ("the part after the @ is not a domain name", "@ 后的部分不是有效的域名")
_LONG_ADDRESS: Fault = ("it is too long", "地址过长")


class MalformedMailAddress(ValueError):
    """The text is not a mail address; the message says why and does not contain it.

    `zh` is the message in Chinese.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"must be a mail address: {fault[0]}")
        self.zh = f"必须是有效的邮件地址:{fault[1]}"


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A mail address: the local part without quotes, the domain in lower case and A-labels."""

    local_part: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> "MailAddress":
        """Parses an address without display name; raises MalformedMailAddress.

        White space around it is ignored. A local part with a dot at an end or with two dots in a
        row may stand without its quotes.
        """
        local_part, at, domain = text.strip().rpartition("@")
        if fault := _missing(local_part, at, domain):
            raise MalformedMailAddress(fault)
        if _ATOMS_AND_DOTS.fullmatch(local_part) and not _DOT_ATOM.fullmatch(local_part):
            local_part = f'"{local_part}"'
        try:
            found = _validated(local_part, domain)
        except EmailNotValidError:
            raise MalformedMailAddress(_fault(local_part, domain)) from None
        if len(found.local_part.encode()) > _MAX_LOCAL_PART_OCTETS:
            raise MalformedMailAddress(_LONG_LOCAL_PART)
        if _NUMBER.fullmatch(found.ascii_domain.rpartition(".")[2]):
            raise MalformedMailAddress(_BAD_DOMAIN)  # no top-level domain is a number (RFC 3696)
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


def _validated(local_part: str, domain: str) -> ValidatedEmail:
    """The parts in normal form; raises EmailNotValidError."""
    return validate_email(
        f"{local_part}@{domain}",
        allow_smtputf8=True,
        allow_quoted_local=True,
        check_deliverability=False,
        globally_deliverable=False,
    )


def _missing(local_part: str, at: str, domain: str) -> Fault | None:
    if not at:
        return _NO_AT
    if not local_part:
        return _NO_LOCAL_PART
    return None if domain else _NO_DOMAIN


def _fault(local_part: str, domain: str) -> Fault:
    """Which part is refused: the library's own texts are long and in English only."""
    if len(local_part.encode()) > _MAX_LOCAL_PART_OCTETS + len('""'):
        return _LONG_LOCAL_PART
    try:
        _validated("a", domain)
    except EmailNotValidError:
        return _BAD_DOMAIN
    try:
        _validated(local_part, "a")
    except EmailNotValidError:
        return _BAD_LOCAL_PART
    return _LONG_ADDRESS


def _unquoted(local_part: str) -> str:
    if not local_part.startswith('"'):
        return local_part
    return re.sub(r"\\(.)", r"\1", local_part[1:-1])
