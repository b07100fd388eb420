"""Sessions: an interview as its customer takes it and an evaluator ends it."""

from dataclasses import dataclass

from devstack.polling import wait_until
from interview.v1 import interview_service_pb2, session_pb2
from tests.system.drivers.running_stack import RunningStack


@dataclass
class Interview:
    """A session and the calls about it."""

    stack: RunningStack
    session: session_pb2.Session
    _request_count: int = 0

    @property
    def session_id(self) -> str:
        return self.session.session_id

    def new_request_id(self) -> str:
        self._request_count += 1
        return f"{self.session_id}-{self._request_count}"

    async def next_question(
        self, request_id: str = ""
    ) -> interview_service_pb2.AskedQuestion | None:
        """The question to answer now; None after the last one."""
        request = interview_service_pb2.GetNextQuestionRequest(
            request_id=request_id or self.new_request_id(), session_id=self.session_id
        )
        reply = await self.stack.clients.interviews.GetNextQuestion(request)
        return reply.question if reply.HasField("question") else None

    async def answer(
        self, question_id: str, answer: str = "Because.", request_id: str = ""
    ) -> interview_service_pb2.QARecord:
        request = interview_service_pb2.SubmitAnswerRequest(
            request_id=request_id or self.new_request_id(),
            session_id=self.session_id,
            question_id=question_id,
            answer=answer,
        )
        return (await self.stack.clients.interviews.SubmitAnswer(request)).record

    async def complete(self) -> session_pb2.Session:
        request = interview_service_pb2.CompleteSessionRequest(
            request_id=self.new_request_id(), session_id=self.session_id
        )
        return (await self.stack.clients.interviews.CompleteSession(request)).session

    async def cancel(self) -> session_pb2.Session:
        request = interview_service_pb2.CancelSessionRequest(
            request_id=self.new_request_id(), session_id=self.session_id
        )
        return (await self.stack.clients.interviews.CancelSession(request)).session

    async def list_qa_records(self) -> list[interview_service_pb2.QARecord]:
        """The questions asked so far, with their answers."""
        request = interview_service_pb2.ListQARecordsRequest(session_id=self.session_id)
        return list((await self.stack.clients.interviews.ListQARecords(request)).records)

    async def create_feedback(self, *question_ids: str) -> interview_service_pb2.Feedback:
        """Gives feedback, with a comment on each of these questions."""
        request = interview_service_pb2.CreateFeedbackRequest(
            request_id=self.new_request_id(),
            session_id=self.session_id,
            rating=4,
            summary="Good.",
            comments=[
                interview_service_pb2.QuestionComment(question_id=question_id, text="Clear.")
                for question_id in question_ids
            ],
        )
        return (await self.stack.clients.interviews.CreateFeedback(request)).feedback

    async def get_session(self) -> session_pb2.Session:
        request = interview_service_pb2.GetSessionRequest(session_id=self.session_id)
        return (await self.stack.clients.interviews.GetSession(request)).session

    async def wait_for_status(self, status: str) -> session_pb2.Session:
        """Waits until the session has a status, such as "EXPIRED"."""
        expected = session_pb2.SessionStatus.Value(f"SESSION_STATUS_{status}")

        async def read() -> session_pb2.Session | None:
            session = await self.get_session()
            return session if session.status == expected else None

        return await wait_until(read, f"{self.session_id} {status}", 60)

    async def expire_question(self) -> None:
        """Moves the time limit of the open question into the past."""
        await self.stack.execute(
            "UPDATE interview.qa_records SET answer_by = now() WHERE session_id = $1",
            self.session_id,
        )

    async def expire_session(self) -> None:
        """Moves the session's deadline into the past; interview's worker ends it afterwards."""
        await self.stack.execute(
            "UPDATE interview.sessions SET deadline_at = now() WHERE session_id = $1",
            self.session_id,
        )


async def get_session_of(stack: RunningStack, order_id: str) -> session_pb2.Session:
    """The order's only session."""
    request = interview_service_pb2.ListSessionsRequest(order_id=order_id)
    (session,) = (await stack.clients.interviews.ListSessions(request)).sessions
    return session


async def prepared_interview(stack: RunningStack) -> Interview:
    """A new customer's session that is not started."""
    _, order_id, _ = await stack.prepare_session()
    return Interview(stack, await get_session_of(stack, order_id))


async def started_interview(stack: RunningStack) -> Interview:
    """A new customer's session that is started, with its code redeemed."""
    journey, order_id, code = await stack.prepare_session()
    session = await journey.start(code)
    await journey.wait_for_redemption(order_id)
    return Interview(stack, session)
