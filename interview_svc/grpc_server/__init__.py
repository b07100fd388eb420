"""interview's calls: request → command → reply."""

from typing import Any

from interview.v1 import interview_service_pb2_grpc
from interview_svc.grpc_server.consistency import ConsistencyCalls
from interview_svc.grpc_server.dependencies import Dependencies
from interview_svc.grpc_server.errors import ERRORS
from interview_svc.grpc_server.feedback import EvaluationCalls
from interview_svc.grpc_server.interviews import InterviewCalls
from interview_svc.grpc_server.queries import ReadingCalls
from interview_svc.grpc_server.sessions import StartingCalls
from runtime.rpc.server import Servicer

__all__ = ["ERRORS", "Dependencies", "InterviewServicer", "servicers"]


class InterviewServicer(
    StartingCalls, InterviewCalls, EvaluationCalls, ReadingCalls, ConsistencyCalls
):
    """interview.v1.InterviewService; its contract says what each call does."""


def servicers(dependencies: Dependencies) -> list[Servicer]:
    """What interview serves."""
    register: Any = interview_service_pb2_grpc.add_InterviewServiceServicer_to_server
    return [Servicer("interview.v1.InterviewService", register, InterviewServicer(dependencies))]
