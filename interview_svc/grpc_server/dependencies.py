"""What the calls work with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from google.protobuf.message import Message

from interview.v1 import interview_service_pb2_grpc
from interview_svc.storage.unit_of_work import Database, UnitOfWork
from interview_svc.use_cases.ports import Evaluator
from interview_svc.workflows.code_validation import Validating
from interview_svc.workflows.reconciliation import Consistency
from runtime.auth.authentication import current_caller
from runtime.database.idempotency import Replies
from runtime.rpc.failed_attempt_limit import GuessLimiter

Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True, slots=True)
class Means:
    """What the calls work with."""

    database: Database
    replies: Replies
    validating: Validating
    guesses: GuessLimiter
    evaluator: Evaluator
    consistency: Consistency
    # Time that an interview has beyond that of its questions.
    spare: timedelta


class Calls(interview_service_pb2_grpc.InterviewServiceServicer):
    """A part of the service's calls."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def _once(
        self,
        request: Message,
        reply: type[Reply],
        work: Callable[[UnitOfWork], Awaitable[Reply]],
    ) -> Reply:
        """Does what a request asks for in one transaction, or tells what it was answered before."""
        async with self._means.database.transaction() as uow:
            return await self._means.replies.once(
                uow.connection, current_caller().scope, request, reply, lambda: work(uow)
            )

    async def _stored(self, request: Message, reply: type[Reply]) -> Reply | None:
        """What a request was answered before, if it was."""
        async with self._means.database.reading() as uow:
            return await self._means.replies.find(
                uow.connection, current_caller().scope, request, reply
            )
