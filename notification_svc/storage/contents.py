"""Contents as columns: an access code in columns of its own, any other as JSON that names its kind.

The JSON is written and read here only; a field that is added later needs a default.
"""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row

from notification_svc.domain.contents import (
    AccessCodeContent,
    CancelReason,
    Content,
    FeedbackContent,
    Money,
    RefundContent,
    RefundScope,
    SessionCancelledContent,
)

_CODE = ("access_code_id", "access_code", "version", "product_id", "expire_at")


def to_columns(content: Content) -> dict[str, Any]:
    """The columns of a content."""
    if isinstance(content, AccessCodeContent):
        return {**asdict(content), "content": None}
    told = {"kind": type(content).__name__, **asdict(content)}
    return {**dict.fromkeys(_CODE), "content": told}


def from_columns(row: Row[Any]) -> Content:
    """The content of a row."""
    if row.content is None:
        return AccessCodeContent(**{name: getattr(row, name) for name in _CODE})
    told = dict(row.content)
    match told.pop("kind"):
        case "RefundContent":
            amount, scope = Money(**told["amount"]), RefundScope(told["scope"])
            return RefundContent(told["refund_id"], amount, scope)
        case "SessionCancelledContent":
            return SessionCancelledContent(**{**told, "reason": CancelReason(told["reason"])})
        case "FeedbackContent":
            return FeedbackContent(**told)
        case kind:
            raise ValueError(f"no content is of kind {kind}")
