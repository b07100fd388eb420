"""Differences between interview's tables and payment's shared table: one query per kind.

interview may read `id, code, status, expire_at` of payment.access_codes and nothing else of
payment's schema. A REVOKED code needs no session: it can be a code that another one replaced, of an
order that has its session. A code whose `expire_at` has just passed is no drift: the expiry workers
of both services have not run yet.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from interview_svc.domain.drifts import Drift, DriftKind

_CODE_WITHOUT_SESSION = """
SELECT coalesce(cached.order_id, '') AS order_id, code.id AS access_code_id, '' AS session_id,
       'the code is ' || code.status || ', it has no session' AS detail,
       false AS code_missing
FROM payment.access_codes code
LEFT JOIN interview.cached_codes cached ON cached.access_code_id = code.id
WHERE code.status <> 'REVOKED'
  AND (:order_id = '' OR code.id = :access_code_id OR cached.order_id = :order_id)
  AND NOT EXISTS (SELECT FROM interview.sessions WHERE access_code_id = code.id)
  AND NOT EXISTS (SELECT FROM interview.sessions WHERE order_id = cached.order_id)
UNION ALL
SELECT session.order_id, code.id, session.session_id,
       'the code is ' || code.status || ', its session ' || session.status
       || ' before its start', false
FROM interview.sessions session
JOIN interview.cached_codes cached ON cached.order_id = session.order_id
JOIN payment.access_codes code ON code.id = cached.access_code_id
WHERE session.status IN ('CANCELLED', 'EXPIRED') AND session.started_at IS NULL
  AND code.status IN ('ACTIVE', 'SUSPENDED') AND code.expire_at > now()
  AND (:order_id = '' OR session.order_id = :order_id)
ORDER BY 2 LIMIT :max_count
"""
_STARTED_NOT_REDEEMED = """
SELECT session.order_id, session.access_code_id, session.session_id,
       'the session is ' || session.status || ', its code ' || code.status AS detail,
       false AS code_missing
FROM interview.sessions session
JOIN payment.access_codes code ON code.id = session.access_code_id
LEFT JOIN interview.cached_codes cached ON cached.order_id = session.order_id
LEFT JOIN payment.access_codes current ON current.id = cached.access_code_id
WHERE session.started_at IS NOT NULL AND NOT session.use_rejected
  AND code.status <> 'REDEEMED' AND current.status IS DISTINCT FROM 'REDEEMED'
  AND (:order_id = '' OR session.order_id = :order_id)
ORDER BY session.session_id LIMIT :max_count
"""
_STALE_ENTRY = """
SELECT cached.order_id, cached.access_code_id, coalesce(session.session_id, '') AS session_id,
       'the cached code is ' || cached.status || ' until ' || cached.expire_at || ', in payment '
       || coalesce(code.status || ' until ' || code.expire_at, 'there is no such code')
       || CASE WHEN code.code <> cached.code THEN ' with another text' ELSE '' END AS detail,
       code.id IS NULL AS code_missing
FROM interview.cached_codes cached
LEFT JOIN payment.access_codes code ON code.id = cached.access_code_id
LEFT JOIN interview.sessions session ON session.order_id = cached.order_id
WHERE (cached.code, cached.status, cached.expire_at)
      IS DISTINCT FROM (code.code, code.status, code.expire_at)
  AND NOT coalesce(
      code.code = cached.code AND code.expire_at = cached.expire_at
      AND code.status IN ('ACTIVE', 'EXPIRED') AND cached.status IN ('ACTIVE', 'EXPIRED')
      AND code.expire_at BETWEEN now() - interval '60 seconds' AND now(), false)
  AND (:order_id = '' OR cached.order_id = :order_id)
UNION ALL
SELECT session.order_id, session.access_code_id, session.session_id,
       'the code is not cached, in payment it is ' || code.status, false
FROM interview.sessions session
JOIN payment.access_codes code ON code.id = session.access_code_id
WHERE NOT EXISTS (SELECT FROM interview.cached_codes WHERE order_id = session.order_id)
  AND (:order_id = '' OR session.order_id = :order_id)
ORDER BY 1 LIMIT :max_count
"""
_SESSION_WITHOUT_CODE = """
SELECT order_id, access_code_id, session_id,
       'the session is ' || status || ', in payment there is no such code' AS detail,
       true AS code_missing
FROM interview.sessions
WHERE status NOT IN ('CANCELLED', 'EXPIRED')
  AND NOT EXISTS (SELECT FROM payment.access_codes WHERE id = sessions.access_code_id)
  AND (:order_id = '' OR order_id = :order_id)
UNION ALL
SELECT session.order_id, session.access_code_id, session.session_id,
       'the session is ' || session.status || CASE
           WHEN cached.access_code_id = session.access_code_id THEN ', its code ' || code.status
           ELSE ', its code is not its order''s' END, false
FROM interview.sessions session
JOIN interview.cached_codes cached ON cached.order_id = session.order_id
JOIN payment.access_codes code ON code.id = cached.access_code_id AND code.status = cached.status
WHERE session.status = 'PREPARED'
  AND (cached.access_code_id <> session.access_code_id OR code.status IN ('REVOKED', 'EXPIRED'))
  AND EXISTS (SELECT FROM payment.access_codes WHERE id = session.access_code_id)
  AND (:order_id = '' OR session.order_id = :order_id)
ORDER BY 3 LIMIT :max_count
"""
_USED_WITHOUT_RIGHT = """
SELECT order_id, access_code_id, session_id,
       'the session is ' || status || ', payment rejected the use of its code' AS detail,
       false AS code_missing
FROM interview.sessions
WHERE use_rejected AND status IN ('COMPLETED', 'EVALUATED')
  AND (:order_id = '' OR order_id = :order_id)
ORDER BY session_id LIMIT :max_count
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
    " OR id = :access_code_id OR EXISTS (SELECT FROM interview.cached_codes cached"
    " WHERE cached.order_id = :order_id AND cached.access_code_id = code.id))"
)


class SqlDrifts:
    """Compares without changing anything."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def compare(self, order_id: str, access_code_id: str, limit: int) -> Sequence[Drift]:
        """The first `limit` drifts; with an order, only of it and of its code in payment."""
        drifts: list[Drift] = []
        for kind, query in _QUERIES.items():
            values = {"order_id": order_id, "access_code_id": access_code_id}
            remaining = limit - len(drifts)
            rows = await self._connection.execute(query, {**values, "max_count": remaining})
            drifts += [Drift(kind, *row) for row in rows]
        return drifts

    async def compared_count(self, order_id: str, access_code_id: str) -> int:
        """How many sessions and access codes are compared."""
        values = {"order_id": order_id, "access_code_id": access_code_id}
        return int((await self._connection.execute(_COUNT, values)).scalar_one())

    async def clock(self) -> datetime:
        """The current time of the database's clock, also within a transaction."""
        moment = await self._connection.scalar(text("SELECT clock_timestamp()"))
        if not isinstance(moment, datetime):
            raise TypeError(moment)
        return moment
