"""Differences between interview's tables and payment's shared table: one query per kind.

Each query is restricted to the orders and codes of a scope; everything is compared page by page, so
that no statement takes longer, the more there is.

interview may read `id, code, status, expire_at` of payment.access_codes and nothing else of
payment's schema. A REVOKED code needs no session: it can be a code that another one replaced, of an
order that has its session. A code whose `expire_at` has just passed is no drift: the expiry workers
of both services have not run yet.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from ulid import ULID

from eventbus.changed_keys import changed_keys
from interview_svc.domain.drifts import Drift, DriftKind, DriftScope
from interview_svc.storage.tables import bus

# The first symbols of an ULID are its time.
_ULID_TIME = 10

_CODE_WITHOUT_SESSION = """
SELECT coalesce(cached.order_id, '') AS order_id, code.id AS access_code_id, '' AS session_id,
       'the code is ' || code.status || ', it has no session' AS detail,
       false AS code_missing
FROM payment.access_codes code
LEFT JOIN interview.cached_codes cached ON cached.access_code_id = code.id
WHERE code.status <> 'REVOKED'
  AND code.id = ANY(:access_code_ids)
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
  AND session.order_id = ANY(:order_ids)
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
  AND session.order_id = ANY(:order_ids)
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
  AND cached.order_id = ANY(:order_ids)
UNION ALL
SELECT session.order_id, session.access_code_id, session.session_id,
       'the code is not cached, in payment it is ' || code.status, false
FROM interview.sessions session
JOIN payment.access_codes code ON code.id = session.access_code_id
WHERE NOT EXISTS (SELECT FROM interview.cached_codes WHERE order_id = session.order_id)
  AND session.order_id = ANY(:order_ids)
ORDER BY 1 LIMIT :max_count
"""
_SESSION_WITHOUT_CODE = """
SELECT order_id, access_code_id, session_id,
       'the session is ' || status || ', in payment there is no such code' AS detail,
       true AS code_missing
FROM interview.sessions session
WHERE status NOT IN ('CANCELLED', 'EXPIRED')
  AND NOT EXISTS (SELECT FROM payment.access_codes WHERE id = session.access_code_id)
  AND session.order_id = ANY(:order_ids)
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
  AND session.order_id = ANY(:order_ids)
ORDER BY 3 LIMIT :max_count
"""
_USED_WITHOUT_RIGHT = """
SELECT order_id, access_code_id, session_id,
       'the session is ' || status || ', payment rejected the use of its code' AS detail,
       false AS code_missing
FROM interview.sessions session
WHERE use_rejected AND status IN ('COMPLETED', 'EVALUATED')
  AND session.order_id = ANY(:order_ids)
ORDER BY session_id LIMIT :max_count
"""
_COUNT = """
SELECT (SELECT count(*) FROM interview.sessions session WHERE session.order_id = ANY(:order_ids))
     + (SELECT count(*) FROM payment.access_codes code WHERE code.id = ANY(:access_code_ids))
"""
_QUERIES = {
    DriftKind.CODE_WITHOUT_SESSION: _CODE_WITHOUT_SESSION,
    DriftKind.STARTED_NOT_REDEEMED: _STARTED_NOT_REDEEMED,
    DriftKind.STALE_ENTRY: _STALE_ENTRY,
    DriftKind.SESSION_WITHOUT_CODE: _SESSION_WITHOUT_CODE,
    DriftKind.USED_WITHOUT_RIGHT: _USED_WITHOUT_RIGHT,
}
_LIVE_ORDERS = """
SELECT order_id FROM interview.cached_codes
WHERE status IN ('ACTIVE', 'SUSPENDED') AND order_id > :after ORDER BY order_id LIMIT :max_count
"""
_NEW_CODES = "SELECT id FROM payment.access_codes WHERE id > :after"
_ALL_CODES = f"{_NEW_CODES} ORDER BY id LIMIT :max_count"
_ALL_ORDERS = """
(SELECT order_id FROM interview.cached_codes WHERE order_id > :after ORDER BY 1 LIMIT :max_count)
UNION
(SELECT order_id FROM interview.sessions WHERE order_id > :after ORDER BY 1 LIMIT :max_count)
ORDER BY 1 LIMIT :max_count
"""
_CODES_OF = "SELECT access_code_id FROM interview.cached_codes WHERE order_id = ANY(:order_ids)"


class SqlDrifts:
    """Compares without changing anything."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def compare(self, scope: DriftScope, limit: int) -> Sequence[Drift]:
        """The first `limit` drifts of a scope."""
        drifts: list[Drift] = []
        for kind, query in _QUERIES.items():
            rows = await self._execute(query, scope, max_count=limit - len(drifts))
            drifts += [Drift(kind, *row) for row in rows]
        return drifts

    async def compared_count(self, scope: DriftScope) -> int:
        """How many sessions and access codes are compared."""
        return int((await self._execute(_COUNT, scope)).scalar_one())

    async def codes_of(self, order_ids: Collection[str]) -> Sequence[str]:
        """The ids of the cached codes of orders."""
        return list((await self._execute(_CODES_OF, DriftScope(order_ids))).scalars())

    async def all_order_ids(self, after: str, limit: int) -> Sequence[str]:
        """Ids of the orders that interview knows, after an id, sorted."""
        return await self._page(_ALL_ORDERS, after, limit)

    async def all_access_code_ids(self, after: str, limit: int) -> Sequence[str]:
        """Ids of payment's codes, after an id, sorted."""
        return await self._page(_ALL_CODES, after, limit)

    async def changed_since(self, moment: datetime) -> DriftScope:
        """The orders that interview has changed since a moment, and payment's codes issued since.

        Of payment's table interview may read no time: ids of codes begin with the time of issue.
        """
        keys = (await self._connection.execute(changed_keys(bus, moment))).scalars().all()
        issued = f"acc_{str(ULID.from_datetime(moment))[:_ULID_TIME]}"
        codes = await self._connection.execute(text(_NEW_CODES), {"after": issued})
        return DriftScope(keys, codes.scalars().all())

    async def live_orders(self, after: str, limit: int) -> Sequence[str]:
        """Orders whose cached code is ACTIVE or SUSPENDED, after an order id, sorted."""
        return await self._page(_LIVE_ORDERS, after, limit)

    async def _page(self, query: str, after: str, limit: int) -> Sequence[str]:
        values = {"after": after, "max_count": limit}
        return (await self._connection.execute(text(query), values)).scalars().all()

    async def clock(self) -> datetime:
        """The current time of the database's clock, also within a transaction."""
        moment = await self._connection.scalar(text("SELECT clock_timestamp()"))
        if not isinstance(moment, datetime):
            raise TypeError(moment)
        return moment

    async def _execute(self, query: str, scope: DriftScope, **values: int) -> Any:
        ids = {"order_ids": scope.order_ids, "access_code_ids": scope.access_code_ids}
        parameters = [
            bindparam(name, list(value), ARRAY(Text))
            for name, value in ids.items()
            if f":{name}" in query
        ]
        return await self._connection.execute(text(query).bindparams(*parameters), values)
