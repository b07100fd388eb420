"""What interview's servicers use, and their base class."""

from dataclasses import dataclass
from datetime import timedelta

from interview_svc.storage.unit_of_work import Database, UnitOfWork
from interview_svc.workers.fallback_monitor import FallbackMonitor
from interview_svc.workflows.code_validation import CodeValidation
from interview_svc.workflows.reconciliation import CodeReconciliation
from runtime.database.idempotency import IdempotencyStore
from runtime.rpc.failed_attempt_limit import FailedAttemptLimiter
from runtime.rpc.servicer import Servicer


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the servicers use."""

    database: Database
    idempotency: IdempotencyStore
    failed_attempts: FailedAttemptLimiter
    code_validation: CodeValidation
    reconciliation: CodeReconciliation
    fallback: FallbackMonitor
    # The time of a session beyond that of its questions.
    grace_period: timedelta


class InterviewServicerBase(Servicer[UnitOfWork]):
    """The base of interview's servicers."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies.database, dependencies.idempotency)
        self._dependencies = dependencies
