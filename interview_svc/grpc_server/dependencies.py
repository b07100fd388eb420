"""What the calls work with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from google.protobuf.message import Message

from interview.v1 import interview_service_pb2_grpc
from interview_svc.storage.unit_of_work import Database, UnitOfWork
from interview_svc.use_cases.ports import Evaluator
from interview_svc.workflows.code_validation import CodeValidation
from interview_svc.workflows.reconciliation import CodeReconciliation
from runtime.auth.authentication import current_caller
from runtime.database.idempotency import IdempotencyStore
from runtime.rpc.failed_attempt_limit import FailedAttemptLimiter

Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the calls work with."""

    database: Database
    replies: IdempotencyStore
    validating: CodeValidation
    guesses: FailedAttemptLimiter
    evaluator: Evaluator
    consistency: CodeReconciliation
    # Time that an interview has beyond that of its questions.
    grace_period: timedelta


class Calls(interview_service_pb2_grpc.InterviewServiceServicer):
    """A part of the service's calls."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def _once(
        self,
        request: Message,
        reply: type[Reply],
        work: Callable[[UnitOfWork], Awaitable[Reply]],
    ) -> Reply:
        """Does what a request asks for in one transaction, or tells what it was answered before."""
        async with self._dependencies.database.transaction() as uow:
            return await self._dependencies.replies.run_once(
                uow.connection, current_caller().scope, request, reply, lambda: work(uow)
            )

    async def _stored(self, request: Message, reply: type[Reply]) -> Reply | None:
        """What a request was answered before, if it was."""
        async with self._dependencies.database.read_only() as uow:
            return await self._dependencies.replies.find(
                uow.connection, current_caller().scope, request, reply
            )
