"""Contents as columns: an access code has its own columns, other contents are JSON with a `kind`.

The JSON is written and read here only; a field that is added later needs a default.
"""

from dataclasses import asdict
from typing import Any

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
        return {**{name: getattr(content, name) for name in _CODE}, "content": None}
    document = {"kind": type(content).__name__, **asdict(content)}
    return {**dict.fromkeys(_CODE), "content": document}


def from_columns(row: Any) -> Content:
    """The content of a row."""
    if row.content is None:
        return AccessCodeContent(**{name: getattr(row, name) for name in _CODE})
    document = dict(row.content)
    match document.pop("kind"):
        case "RefundContent":
            amount, scope = Money(**document["amount"]), RefundScope(document["scope"])
            return RefundContent(document["refund_id"], amount, scope)
        case "SessionCancelledContent":
            return SessionCancelledContent(
                **{**document, "reason": CancelReason(document["reason"])}
            )
        case "FeedbackContent":
            return FeedbackContent(**document)
        case kind:
            raise ValueError(f"no content is of kind {kind}")
