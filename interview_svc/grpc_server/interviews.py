"""Calls of a running interview: the next question, an answer, its end."""

from datetime import UTC, datetime

from interview.v1 import interview_service_pb2 as contract
from interview_svc.grpc_server.dependencies import InterviewServicerBase
from interview_svc.messages import replies
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.use_cases.interviews import (
    OwnSession,
    SubmitAnswer,
    cancel_session,
    complete_session,
    next_question,
    submit_answer,
)
from runtime.auth.authentication import current_caller
from runtime.rpc.interceptor import Context


class RunningSessionServicer(InterviewServicerBase):
    """Ask, answer, end."""

    async def GetNextQuestion(  # noqa: N802
        self, request: contract.GetNextQuestionRequest, _context: Context
    ) -> contract.GetNextQuestionResponse:
        async def work(uow: UnitOfWork) -> contract.GetNextQuestionResponse:
            now = datetime.now(UTC)
            session, record = await next_question(_own(request.session_id), uow, now=now)
            question = replies.asked_question(session, record) if record else None
            return contract.GetNextQuestionResponse(question=question)

        return await self.run_once(request, contract.GetNextQuestionResponse, work)

    async def SubmitAnswer(  # noqa: N802
        self, request: contract.SubmitAnswerRequest, _context: Context
    ) -> contract.SubmitAnswerResponse:
        command = SubmitAnswer(request.question_id, request.answer)

        async def work(uow: UnitOfWork) -> contract.SubmitAnswerResponse:
            where, now = _own(request.session_id), datetime.now(UTC)
            session, record = await submit_answer(where, command, uow, now=now)
            return contract.SubmitAnswerResponse(record=replies.qa_record(session, record, now))

        return await self.run_once(request, contract.SubmitAnswerResponse, work)

    async def CompleteSession(  # noqa: N802
        self, request: contract.CompleteSessionRequest, _context: Context
    ) -> contract.CompleteSessionResponse:
        async def work(uow: UnitOfWork) -> contract.CompleteSessionResponse:
            now = datetime.now(UTC)
            session = await complete_session(_own(request.session_id), uow, now=now)
            return contract.CompleteSessionResponse(session=replies.session(session))

        return await self.run_once(request, contract.CompleteSessionResponse, work)

    async def CancelSession(  # noqa: N802
        self, request: contract.CancelSessionRequest, _context: Context
    ) -> contract.CancelSessionResponse:
        async def work(uow: UnitOfWork) -> contract.CancelSessionResponse:
            now = datetime.now(UTC)
            session = await cancel_session(_own(request.session_id), uow, now=now)
            return contract.CancelSessionResponse(session=replies.session(session))

        return await self.run_once(request, contract.CancelSessionResponse, work)


def _own(session_id: str) -> OwnSession:
    return OwnSession(session_id, current_caller().customer)
