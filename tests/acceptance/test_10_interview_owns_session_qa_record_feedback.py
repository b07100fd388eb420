"""interview owns Session, QARecord, Feedback: their tables are in its schema and in no other.

All three are reached by its calls, in one interview from its start to its feedback.
"""

from interview.v1 import interview_service_pb2, session_pb2
from tests.system.drivers.running_stack import RunningStack


async def test_proof_10_the_tables_are_in_interviews_schema_only(
    shared_stack: RunningStack,
) -> None:
    """Three tables, owned by interview's owner role; no other service's role may use them."""
    rows = await shared_stack.rows(
        "SELECT schemaname, tablename, tableowner FROM pg_tables"
        " WHERE tablename ~ '^(sessions|qa_?records|feedbacks?)$' ORDER BY tablename"
    )
    kinds = [row["tablename"][:2] for row in rows]
    assert kinds == ["fe", "qa", "se"]
    assert {(row["schemaname"], row["tableowner"]) for row in rows} == {
        ("interview", "interview_owner")
    }
    strangers = await shared_stack.rows(
        "SELECT DISTINCT grantee FROM information_schema.column_privileges"
        " WHERE table_schema = 'interview' AND grantee NOT LIKE 'interview%'"
    )
    assert not strangers


async def test_proof_10_all_three_are_reached_by_its_calls(shared_stack: RunningStack) -> None:
    """A session is started, questions asked and answered, it is completed and evaluated."""
    journey, _, code = await shared_stack.prepared()
    interviews, pb = shared_stack.clients.interviews, interview_service_pb2
    session_id = (await journey.start(code)).session_id
    records = []
    for number in (1, 2):
        question = (
            await interviews.GetNextQuestion(
                pb.GetNextQuestionRequest(
                    request_id=f"{journey.name}-q{number}", session_id=session_id
                )
            )
        ).question
        assert question.number == number
        submitted = await interviews.SubmitAnswer(
            pb.SubmitAnswerRequest(
                request_id=f"{journey.name}-a{number}",
                session_id=session_id,
                question_id=question.question_id,
                answer=f"my answer {number}",
            )
        )
        records.append(submitted.record)
    completed = await interviews.CompleteSession(
        pb.CompleteSessionRequest(request_id=journey.name, session_id=session_id)
    )
    assert completed.session.status == session_pb2.SESSION_STATUS_COMPLETED
    listed = await interviews.ListQARecords(pb.ListQARecordsRequest(session_id=session_id))
    assert list(listed.records) == records
    assert [record.answer for record in records] == ["my answer 1", "my answer 2"]
    given = await interviews.CreateFeedback(
        pb.CreateFeedbackRequest(
            request_id=journey.name,
            session_id=session_id,
            rating=4,
            summary="clear and to the point",
            comments=[
                pb.QuestionComment(question_id=records[0].question.question_id, text="well put")
            ],
        )
    )
    found = await interviews.GetFeedback(pb.GetFeedbackRequest(session_id=session_id))
    assert found.feedback == given.feedback
    assert (found.feedback.rating, found.feedback.summary) == (4, "clear and to the point")
    session = (await interviews.GetSession(pb.GetSessionRequest(session_id=session_id))).session
    assert session.status == session_pb2.SESSION_STATUS_EVALUATED
    assert session.answered_count == len(records)
