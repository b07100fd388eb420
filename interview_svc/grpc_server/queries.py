"""Calls that only read: sessions, and their questions and answers."""

from datetime import UTC, datetime

from interview.v1 import interview_service_pb2 as contract
from interview.v1 import session_pb2
from interview_svc.grpc_server.dependencies import InterviewServicerBase
from interview_svc.messages import replies
from runtime.auth.authentication import current_caller
from runtime.rpc.interceptor import Context
from runtime.rpc.pagination import Page

_MAX_NUMBER_LENGTH = 6


class QueryServicer(InterviewServicerBase):
    """Sessions, and their questions and answers."""

    async def GetSession(  # noqa: N802
        self, request: contract.GetSessionRequest, _context: Context
    ) -> contract.GetSessionResponse:
        async with self._database.read_only() as uow:
            session = await uow.sessions.get(request.session_id, only=current_caller().customer)
        return contract.GetSessionResponse(session=replies.session(session))

    async def ListSessions(  # noqa: N802
        self, request: contract.ListSessionsRequest, _context: Context
    ) -> contract.ListSessionsResponse:
        page = Page.of(request, "ses")
        status = session_pb2.SessionStatus.Name(request.status)
        wanted = status.removeprefix("SESSION_STATUS_") if request.status else ""
        async with self._database.read_only() as uow:
            sessions = await uow.sessions.page(
                request.order_id,
                request.customer_id,
                wanted,
                page.after,
                page.limit,
                only=current_caller().customer,
            )
        sessions, token = page.split(sessions, "session_id")
        return contract.ListSessionsResponse(
            sessions=[replies.session(session) for session in sessions], next_page_token=token
        )

    async def ListQARecords(  # noqa: N802
        self, request: contract.ListQARecordsRequest, _context: Context
    ) -> contract.ListQARecordsResponse:
        page = Page.by_key(request, _is_number)
        only = current_caller().customer
        async with self._database.read_only() as uow:
            session = await uow.sessions.get(request.session_id, only=only)
            records = await uow.qa_records.page(
                session.session_id, int(page.after or 0), page.limit
            )
        records, token = page.split(records, "number")
        now = datetime.now(UTC)
        return contract.ListQARecordsResponse(
            records=[replies.qa_record(session, record, now) for record in records],
            next_page_token=token,
        )


def _is_number(key: str) -> bool:
    """Whether a page token names a question's number."""
    return key.isdecimal() and len(key) <= _MAX_NUMBER_LENGTH
