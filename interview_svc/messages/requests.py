"""Converts the messages of interview's requests to domain objects."""

from interview.v1 import interview_service_pb2 as contract
from interview.v1 import session_pb2
from interview_svc.domain.feedback import Assessment, QuestionComment
from interview_svc.domain.session_state import SessionStatus


def assessment(request: contract.CreateFeedbackRequest) -> Assessment:
    """The assessment of a session."""
    comments = tuple(
        QuestionComment(comment.question_id, comment.text) for comment in request.comments
    )
    return Assessment(request.rating, request.summary, comments)


def session_status(request: contract.ListSessionsRequest) -> SessionStatus | None:
    """The status to which a list is restricted; None if it is not."""
    if request.status == session_pb2.SESSION_STATUS_UNSPECIFIED:
        return None
    name = session_pb2.SessionStatus.Name(request.status)
    return SessionStatus(name.removeprefix("SESSION_STATUS_"))
