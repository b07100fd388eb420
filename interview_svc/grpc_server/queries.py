"""Calls that only read: sessions, and their questions and answers."""

import base64
import binascii
from datetime import UTC, datetime

from interview.v1 import interview_service_pb2 as contract
from interview.v1 import session_pb2
from interview_svc.grpc_server.dependencies import Calls
from interview_svc.messages import replies
from runtime.auth.authentication import current_caller
from runtime.rpc.errors import InvalidRequest
from runtime.rpc.interceptor import Context
from runtime.rpc.pagination import cut, last_id, size_of

_LONGEST_NUMBER = 6


class ReadingCalls(Calls):
    """Sessions, and their questions and answers."""

    async def GetSession(  # noqa: N802
        self, request: contract.GetSessionRequest, _context: Context
    ) -> contract.GetSessionResponse:
        async with self._dependencies.database.read_only() as uow:
            session = await uow.sessions.get(request.session_id, only=current_caller().customer)
        return contract.GetSessionResponse(session=replies.session(session))

    async def ListSessions(  # noqa: N802
        self, request: contract.ListSessionsRequest, _context: Context
    ) -> contract.ListSessionsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token, "ses")
        status = session_pb2.SessionStatus.Name(request.status)
        wanted = status.removeprefix("SESSION_STATUS_") if request.status else ""
        async with self._dependencies.database.read_only() as uow:
            sessions = await uow.sessions.page(
                request.order_id,
                request.customer_id,
                wanted,
                last,
                size + 1,
                only=current_caller().customer,
            )
        page, token = cut(sessions, size, "session_id")
        return contract.ListSessionsResponse(
            sessions=[replies.session(session) for session in page], next_page_token=token
        )

    async def ListQARecords(  # noqa: N802
        self, request: contract.ListQARecordsRequest, _context: Context
    ) -> contract.ListQARecordsResponse:
        size, last = size_of(request.page_size), _last_number(request.page_token)
        only = current_caller().customer
        async with self._dependencies.database.read_only() as uow:
            session = await uow.sessions.get(request.session_id, only=only)
            records = await uow.qa_records.page(session.session_id, last, size + 1)
        page, token = cut(records, size, "number")
        now = datetime.now(UTC)
        return contract.ListQARecordsResponse(
            records=[replies.qa_record(session, record, now) for record in page],
            next_page_token=token,
        )


def _last_number(token: str) -> int:
    """The number of the question that a token stands for; raises InvalidRequest."""
    try:
        number = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        number = "?"
    if not (number or "0").isdecimal() or len(number) > _LONGEST_NUMBER:
        raise InvalidRequest(
            [("page_token", "is not a next_page_token of this list")], "INVALID_PAGE_TOKEN"
        )
    return int(number or "0")
