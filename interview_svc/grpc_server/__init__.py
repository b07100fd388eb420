"""interview's gRPC server: converts requests to commands and results to replies."""

from collections.abc import Sequence
from typing import Any

from interview.v1 import interview_service_pb2_grpc
from interview_svc.grpc_server.dependencies import Dependencies
from interview_svc.grpc_server.errors import ERRORS
from interview_svc.grpc_server.fallback import FallbackServicer
from interview_svc.grpc_server.feedback import FeedbackServicer
from interview_svc.grpc_server.qa_records import QARecordServicer
from interview_svc.grpc_server.reconciliation import ReconciliationServicer
from interview_svc.grpc_server.sessions import SessionServicer
from runtime.rpc.server import ServiceRegistration

__all__ = ["ERRORS", "LOGGED_FIELDS", "InterviewServicer", "registrations"]

LOGGED_FIELDS = ("order_id", "session_id")


class InterviewServicer(
    SessionServicer,
    QARecordServicer,
    FeedbackServicer,
    ReconciliationServicer,
    FallbackServicer,
    interview_service_pb2_grpc.InterviewServiceServicer,
):
    """interview.v1.InterviewService; its contract describes each method."""


def registrations(dependencies: Dependencies) -> Sequence[ServiceRegistration]:
    """The gRPC services of interview."""
    add: Any = interview_service_pb2_grpc.add_InterviewServiceServicer_to_server
    return [
        ServiceRegistration("interview.v1.InterviewService", add, InterviewServicer(dependencies))
    ]
