"""The questions of a session and their answers."""

from interview.v1 import interview_service_pb2 as contract
from interview_svc.grpc_server.dependencies import InterviewServicerBase
from interview_svc.messages import replies
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.use_cases.qa_records import SubmitAnswer, next_question, submit_answer
from interview_svc.use_cases.sessions import SessionRef
from runtime.auth.authentication import current_caller
from runtime.clock import utc_now
from runtime.rpc.call_layer import Context
from runtime.rpc.pagination import Page

_MAX_NUMBER_LENGTH = 6


class QARecordServicer(InterviewServicerBase):
    """GetNextQuestion, SubmitAnswer and ListQARecords."""

    async def GetNextQuestion(  # noqa: N802
        self, request: contract.GetNextQuestionRequest, _context: Context
    ) -> contract.GetNextQuestionResponse:
        session_ref = SessionRef(request.session_id, current_caller().customer)

        async def handler(uow: UnitOfWork) -> contract.GetNextQuestionResponse:
            session, record = await next_question(session_ref, uow, clock=utc_now)
            question = replies.asked_question(session, record) if record else None
            return contract.GetNextQuestionResponse(question=question)

        return await self.run_once(request, contract.GetNextQuestionResponse, handler)

    async def SubmitAnswer(  # noqa: N802
        self, request: contract.SubmitAnswerRequest, _context: Context
    ) -> contract.SubmitAnswerResponse:
        session_ref = SessionRef(request.session_id, current_caller().customer)
        command = SubmitAnswer(session_ref, request.question_id, request.answer)

        async def handler(uow: UnitOfWork) -> contract.SubmitAnswerResponse:
            session, record = await submit_answer(command, uow, clock=utc_now)
            return contract.SubmitAnswerResponse(
                record=replies.qa_record(session, record, utc_now())
            )

        return await self.run_once(request, contract.SubmitAnswerResponse, handler)

    async def ListQARecords(  # noqa: N802
        self, request: contract.ListQARecordsRequest, _context: Context
    ) -> contract.ListQARecordsResponse:
        page = Page.by_key(request, _is_question_number)
        customer_id = current_caller().customer
        async with self._database.read_only() as uow:
            session = await uow.sessions.get(
                request.session_id, customer_id=customer_id, lock=False
            )
            records = await uow.qa_records.page(
                session.session_id, int(page.after or 0), page.limit
            )
        records, next_page_token = page.split(records, "number")
        now = utc_now()
        return contract.ListQARecordsResponse(
            records=[replies.qa_record(session, record, now) for record in records],
            next_page_token=next_page_token,
        )


def _is_question_number(key: str) -> bool:
    return key.isdecimal() and len(key) <= _MAX_NUMBER_LENGTH
