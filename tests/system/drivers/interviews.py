"""An interview as its customer and its operators see it, and payment's word put in its mouth."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf.message import Message
from ulid import ULID

from devstack.polling import wait_until
from interview.v1 import events_pb2 as announced
from interview.v1 import interview_service_pb2 as contract
from interview.v1 import session_pb2
from payment.v1 import access_code_pb2, events_pb2
from runtime.protobuf import to_event, to_timestamp
from shared_model.access_code import generate
from tests.system.drivers.running_stack import RunningStack

Announced = TypeVar("Announced", bound=Message)
EVENTS: dict[str, Any] = {
    name: getattr(announced, name) for name in announced.DESCRIPTOR.message_types_by_name
}


async def say(outside: RunningStack, message: Message) -> str:
    """Publishes what payment would, as its user; the event's id."""
    event = to_event(message, "payment", datetime.now(UTC))
    async with outside.nats("payment") as client:
        await client.jetstream().publish(event.subject, event.data, headers=event.headers())
    return event.id


async def tell(outside: RunningStack, message: Message) -> None:
    """The same, and waits until interview has handled it."""
    await handled(outside, await say(outside, message))


async def handled(outside: RunningStack, event_id: str) -> None:
    """Waits until interview has handled an event."""
    await outside.until_true(
        "SELECT EXISTS (SELECT FROM interview.inbox WHERE event_id = $1 AND state = 'HANDLED')",
        event_id,
    )


async def heard(outside: RunningStack, name: str, order_id: str, count: int = 1) -> list[Any]:
    """Waits until interview has announced so many events of a kind; all of them, in order."""
    subject = f"interview.v1.{name}.{order_id}"

    async def look() -> list[Any] | None:
        found = await told(outside, subject)
        return found if len(found) >= count else None

    return await wait_until(look, f"{count} messages on {subject}", 60)


async def told(outside: RunningStack, subject: str) -> list[Any]:
    """All messages of a subject of interview's, in order."""
    kind, found, sequence = EVENTS[subject.split(".")[2]], [], 0
    if not (count := await outside.stored_count(subject)):
        return []
    async with outside.nats() as client:
        for _ in range(count):
            message = await client.jetstream().get_msg(
                "INTERVIEW", sequence + 1, subject=subject, next=True
            )
            sequence = message.seq or 0
            found.append(kind.FromString(message.data or b""))
    return found


@dataclass
class Sold:
    """An order that payment knows of or, in these tests, only its events do."""

    outside: RunningStack
    order_id: str = field(default_factory=lambda: f"ord_{ULID()}")
    access_code_id: str = field(default_factory=lambda: f"acc_{ULID()}")
    code: str = field(default_factory=lambda: generate(secrets.randbelow))
    days: float = 1.0

    def record(self, version: int, status: str, **more: Any) -> access_code_pb2.AccessCode:
        """The code's record."""
        expire_at = datetime.fromtimestamp(datetime.now(UTC).timestamp() + self.days * 86400, UTC)
        return access_code_pb2.AccessCode(
            **{
                "id": self.access_code_id,
                "code": self.code,
                "status": f"ACCESS_CODE_STATUS_{status}",
                "expire_at": to_timestamp(expire_at),
                "order_id": self.order_id,
                "product_id": "behavioral-30",
                "version": version,
                **more,
            }
        )

    def paid(self) -> events_pb2.PaymentCompleted:
        """The event that it was paid."""
        record = self.record(1, "ACTIVE")
        return events_pb2.PaymentCompleted(
            order_id=self.order_id,
            access_code=self.code,
            expire_at=record.expire_at,
            access_code_id=self.access_code_id,
            version=1,
            product_id=record.product_id,
            recipient=self.recipient,
            customer_id="li.hua",
            completed_at=to_timestamp(datetime.now(UTC)),
        )

    @property
    def recipient(self) -> access_code_pb2.Recipient:
        """Who gets the code."""
        return access_code_pb2.Recipient(
            email="li.hua@example.com", display_name="李华", language_code="en"
        )

    def ask(
        self, version: int, status: str = "SUSPENDED", number: int = 1, refund_id: str = ""
    ) -> events_pb2.RefundRequested:
        """A refund that asks."""
        return events_pb2.RefundRequested(
            order_id=self.order_id,
            record=self.record(version, status),
            refund_id=refund_id or f"ref_{ULID()}",
            ask=number,
            requested_at=to_timestamp(datetime.now(UTC)),
        )

    async def session(self) -> session_pb2.Session:
        """Its session."""
        return await session_of(self.outside, self.order_id)


async def session_of(outside: RunningStack, order_id: str) -> session_pb2.Session:
    """An order's session."""
    request = contract.ListSessionsRequest(order_id=order_id)
    (session,) = (await outside.clients.interviews.ListSessions(request)).sessions
    return session


@dataclass
class Interview:
    """A running interview."""

    outside: RunningStack
    session: session_pb2.Session
    requests: int = 0

    @property
    def session_id(self) -> str:
        """The session."""
        return self.session.session_id

    def request_id(self) -> str:
        """A new one."""
        self.requests += 1
        return f"{self.session_id}-{self.requests}"

    async def next_question(self, request_id: str = "") -> contract.AskedQuestion | None:
        """The question to answer now; None after all."""
        request = contract.GetNextQuestionRequest(
            request_id=request_id or self.request_id(), session_id=self.session_id
        )
        reply = await self.outside.clients.interviews.GetNextQuestion(request)
        return reply.question if reply.HasField("question") else None

    async def answer(
        self, question_id: str, answer: str = "Because.", request_id: str = ""
    ) -> contract.QARecord:
        """Answers a question."""
        request = contract.SubmitAnswerRequest(
            request_id=request_id or self.request_id(),
            session_id=self.session_id,
            question_id=question_id,
            answer=answer,
        )
        return (await self.outside.clients.interviews.SubmitAnswer(request)).record

    async def complete(self) -> session_pb2.Session:
        """Ends it."""
        request = contract.CompleteSessionRequest(
            request_id=self.request_id(), session_id=self.session_id
        )
        return (await self.outside.clients.interviews.CompleteSession(request)).session

    async def cancel(self) -> session_pb2.Session:
        """Calls it off."""
        request = contract.CancelSessionRequest(
            request_id=self.request_id(), session_id=self.session_id
        )
        return (await self.outside.clients.interviews.CancelSession(request)).session

    async def records(self) -> list[contract.QARecord]:
        """Its questions and answers."""
        request = contract.ListQARecordsRequest(session_id=self.session_id)
        return list((await self.outside.clients.interviews.ListQARecords(request)).records)

    async def evaluate(self, *questions: str) -> contract.Feedback:
        """Gives feedback, with comments on these questions."""
        request = contract.CreateFeedbackRequest(
            request_id=self.request_id(),
            session_id=self.session_id,
            rating=4,
            summary="Good.",
            comments=[
                contract.QuestionComment(question_id=question, text="Clear.")
                for question in questions
            ],
        )
        return (await self.outside.clients.interviews.CreateFeedback(request)).feedback

    async def now(self) -> session_pb2.Session:
        """The session as it stands."""
        request = contract.GetSessionRequest(session_id=self.session_id)
        return (await self.outside.clients.interviews.GetSession(request)).session

    async def becomes(self, status: str) -> session_pb2.Session:
        """Waits until the session stands so."""
        wanted = session_pb2.SessionStatus.Value(f"SESSION_STATUS_{status}")

        async def look() -> session_pb2.Session | None:
            session = await self.now()
            return session if session.status == wanted else None

        return await wait_until(look, f"{self.session_id} {status}", 60)


async def started(outside: RunningStack) -> Interview:
    """A customer's running interview."""
    journey, order_id, code = await outside.prepared()
    session = await journey.start(code)
    await journey.redeemed(order_id)
    return Interview(outside, session)


async def put(outside: RunningStack, statement: str, *arguments: object) -> None:
    """What the superuser changes."""
    async with outside.sql() as superuser:
        await superuser.execute(statement, *arguments)


async def time_over(interview: Interview, what: str) -> None:
    """Moves the interview into the past, so that a time of it is over."""
    if what == "answer_by":
        change = "UPDATE interview.qa_records SET answer_by = now() WHERE session_id = $1"
    else:
        change = "UPDATE interview.sessions SET deadline_at = now() WHERE session_id = $1"
    await put(interview.outside, change, interview.session_id)
