"""Keeps secrets out of what people read: access codes and mail addresses are masked.

So are the values that a database error quotes: a row's in PostgreSQL's detail, a parameter's.
"""

import re

_SYMBOL = "[0-9A-HJ-KM-NP-TV-Za-hj-km-np-tv-z]"
_UUID = r"(?P<uuid>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})"
# Four groups of four wherever they stand, but in a UUID; without dashes only as a word of its own,
# with a digit, in capitals: a ULID is longer.
_ACCESS_CODE = re.compile(
    rf"{_UUID}|(?:{_SYMBOL}{{4}}-){{3}}(?P<dashed>{_SYMBOL}{{4}})"
    r"|(?<![0-9A-Za-z_-])(?=[A-Z]{0,15}[0-9])[0-9A-HJ-KM-NP-TV-Z]{12}"
    r"(?P<plain>[0-9A-HJ-KM-NP-TV-Z]{4})(?![0-9A-Za-z_-])"
)
# Every part is bounded: what people send is masked too, and must not take long.
_LOCAL = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]"
_MAIL_ADDRESS = re.compile(
    rf"(?<!{_LOCAL})({_LOCAL}){_LOCAL}{{0,255}}@([A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{1,8}})"
)
# A value may hold line breaks: the detail ends where SQLAlchemy or the traceback goes on.
_ROW = re.compile(
    r"(DETAIL: {1,2})(?:Failing row contains|Key) .*?"
    r"(?=\n[ |]*(?:\[SQL|HINT:)|\n[ |]*\n[ |]*(?:The above|During handling)|\Z)",
    re.DOTALL,
)
_PARAMETER = re.compile(r"(invalid input for query argument \$\d+:) [^\n]*")


def mask(text: str) -> str:
    """Text with access codes cut to their last four symbols, mail addresses to their domain."""
    text = _PARAMETER.sub(r"\1 ***", _ROW.sub(r"\1***", text))
    return _MAIL_ADDRESS.sub(r"\1***@\2", _ACCESS_CODE.sub(_masked, text))


def _masked(found: re.Match[str]) -> str:
    if found["uuid"]:
        return found[0]
    return f"****-****-****-{found['dashed'] or found['plain']}"
