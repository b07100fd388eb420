"""Where interview's half and payment's shared table differ: joins over both, one per kind.

interview may read `id, code, status, expire_at` of payment.access_codes and nothing else of
payment's. A REVOKED code needs no session: it may be one that was replaced, of an order that has
its session. An `expire_at` that has just passed is the sweepers' work, not a drift.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.domain.drifts import Drift, DriftKind

_CODE_WITHOUT_SESSION = """
SELECT coalesce(entry.order_id, '') AS order_id, code.id AS access_code_id, '' AS session_id,
       'the code is ' || code.status || ', no session is bound to it' AS detail,
       false AS code_missing
FROM payment.access_codes code
LEFT JOIN interview.cached_codes entry ON entry.access_code_id = code.id
WHERE code.status <> 'REVOKED'
  AND (:order_id = '' OR code.id = :access_code_id OR entry.order_id = :order_id)
  AND NOT EXISTS (SELECT FROM interview.sessions WHERE access_code_id = code.id)
  AND NOT EXISTS (SELECT FROM interview.sessions WHERE order_id = entry.order_id)
UNION ALL
SELECT session.order_id, code.id, session.session_id,
       'the code is ' || code.status || ', its session ' || session.status
       || ' before it began', false
FROM interview.sessions session
JOIN interview.cached_codes entry ON entry.order_id = session.order_id
JOIN payment.access_codes code ON code.id = entry.access_code_id
WHERE session.status IN ('CANCELLED', 'EXPIRED') AND session.started_at IS NULL
  AND code.status IN ('ACTIVE', 'SUSPENDED') AND code.expire_at > now()
  AND (:order_id = '' OR session.order_id = :order_id)
ORDER BY 2 LIMIT :most
"""
_STARTED_NOT_REDEEMED = """
SELECT session.order_id, session.access_code_id, session.session_id,
       'the session is ' || session.status || ', its code ' || code.status AS detail,
       false AS code_missing
FROM interview.sessions session
JOIN payment.access_codes code ON code.id = session.access_code_id
LEFT JOIN interview.cached_codes entry ON entry.order_id = session.order_id
LEFT JOIN payment.access_codes current ON current.id = entry.access_code_id
WHERE session.started_at IS NOT NULL AND NOT session.use_rejected
  AND code.status <> 'REDEEMED' AND current.status IS DISTINCT FROM 'REDEEMED'
  AND (:order_id = '' OR session.order_id = :order_id)
ORDER BY session.session_id LIMIT :most
"""
_STALE_ENTRY = """
SELECT entry.order_id, entry.access_code_id, coalesce(session.session_id, '') AS session_id,
       'the copy says ' || entry.status || ' until ' || entry.expire_at || ', payment '
       || coalesce(code.status || ' until ' || code.expire_at, 'knows no such code')
       || CASE WHEN code.code <> entry.code THEN ' of another code' ELSE '' END AS detail,
       code.id IS NULL AS code_missing
FROM interview.cached_codes entry
LEFT JOIN payment.access_codes code ON code.id = entry.access_code_id
LEFT JOIN interview.sessions session ON session.order_id = entry.order_id
WHERE (entry.code, entry.status, entry.expire_at)
      IS DISTINCT FROM (code.code, code.status, code.expire_at)
  AND NOT coalesce(
      code.code = entry.code AND code.expire_at = entry.expire_at
      AND code.status IN ('ACTIVE', 'EXPIRED') AND entry.status IN ('ACTIVE', 'EXPIRED')
      AND code.expire_at BETWEEN now() - interval '60 seconds' AND now(), false)
  AND (:order_id = '' OR entry.order_id = :order_id)
UNION ALL
SELECT session.order_id, session.access_code_id, session.session_id,
       'there is no copy, payment says ' || code.status, false
FROM interview.sessions session
JOIN payment.access_codes code ON code.id = session.access_code_id
WHERE NOT EXISTS (SELECT FROM interview.cached_codes WHERE order_id = session.order_id)
  AND (:order_id = '' OR session.order_id = :order_id)
ORDER BY 1 LIMIT :most
"""
_SESSION_WITHOUT_CODE = """
SELECT order_id, access_code_id, session_id,
       'the session is ' || status || ', payment knows no such code' AS detail,
       true AS code_missing
FROM interview.sessions
WHERE status NOT IN ('CANCELLED', 'EXPIRED')
  AND NOT EXISTS (SELECT FROM payment.access_codes WHERE id = sessions.access_code_id)
  AND (:order_id = '' OR order_id = :order_id)
UNION ALL
SELECT session.order_id, session.access_code_id, session.session_id,
       'the session is ' || session.status || CASE
           WHEN entry.access_code_id = session.access_code_id THEN ', its code ' || code.status
           ELSE ', it names another code than its order''s' END, false
FROM interview.sessions session
JOIN interview.cached_codes entry ON entry.order_id = session.order_id
JOIN payment.access_codes code ON code.id = entry.access_code_id AND code.status = entry.status
WHERE session.status = 'PREPARED'
  AND (entry.access_code_id <> session.access_code_id OR code.status IN ('REVOKED', 'EXPIRED'))
  AND EXISTS (SELECT FROM payment.access_codes WHERE id = session.access_code_id)
  AND (:order_id = '' OR session.order_id = :order_id)
ORDER BY 3 LIMIT :most
"""
_USED_WITHOUT_RIGHT = """
SELECT order_id, access_code_id, session_id,
       'the session is ' || status || ', payment rejected the use of its code' AS detail,
       false AS code_missing
FROM interview.sessions
WHERE use_rejected AND status IN ('COMPLETED', 'EVALUATED')
  AND (:order_id = '' OR order_id = :order_id)
ORDER BY session_id LIMIT :most
"""
_QUERIES = {
    DriftKind.CODE_WITHOUT_SESSION: text(_CODE_WITHOUT_SESSION),
    DriftKind.STARTED_NOT_REDEEMED: text(_STARTED_NOT_REDEEMED),
    DriftKind.STALE_ENTRY: text(_STALE_ENTRY),
    DriftKind.SESSION_WITHOUT_CODE: text(_SESSION_WITHOUT_CODE),
    DriftKind.USED_WITHOUT_RIGHT: text(_USED_WITHOUT_RIGHT),
}
_COUNT = text(
    "SELECT (SELECT count(*) FROM interview.sessions WHERE :order_id IN ('', order_id))"
    " + (SELECT count(*) FROM payment.access_codes code WHERE :order_id = ''"
    " OR id = :access_code_id OR EXISTS (SELECT FROM interview.cached_codes entry"
    " WHERE entry.order_id = :order_id AND entry.access_code_id = code.id))"
)


class Drifts:
    """Compares, reading only."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, order_id: str, access_code_id: str, most: int) -> Sequence[Drift]:
        """The first `most` drifts; of one order and the code that payment names, if given."""
        found: list[Drift] = []
        for kind, query in _QUERIES.items():
            values = {"order_id": order_id, "access_code_id": access_code_id}
            rows = await self._connection.execute(query, {**values, "most": most - len(found)})
            found += [Drift(kind, *row) for row in rows]
        return found

    async def compared_count(self, order_id: str, access_code_id: str) -> int:
        """How many sessions and codes there are to compare."""
        values = {"order_id": order_id, "access_code_id": access_code_id}
        return int((await self._connection.execute(_COUNT, values)).scalar_one())

    async def clock(self) -> datetime:
        """The database's clock."""
        moment = await self._connection.scalar(text("SELECT clock_timestamp()"))
        if not isinstance(moment, datetime):
            raise TypeError(moment)
        return moment
