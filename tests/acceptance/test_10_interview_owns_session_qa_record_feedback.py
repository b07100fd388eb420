"""interview owns Session, QARecord, Feedback: their tables are in its schema and in no other.

Its calls reach all three, in one interview from its start to its feedback.
"""

from interview.v1 import interview_service_pb2, session_pb2
from tests.system.drivers.interviews import started_interview
from tests.system.drivers.running_stack import RunningStack


async def test_the_tables_are_in_interviews_schema_only(shared_stack: RunningStack) -> None:
    """Interview's owner role owns the three; no role of another service may use them."""
    rows = await shared_stack.fetch_rows(
        "SELECT schemaname, tablename, tableowner FROM pg_tables"
        " WHERE tablename ~ '^(sessions|qa_?records|feedbacks?)$' ORDER BY tablename"
    )
    assert [row["tablename"][:2] for row in rows] == ["fe", "qa", "se"]
    assert {(row["schemaname"], row["tableowner"]) for row in rows} == {
        ("interview", "interview_owner")
    }
    foreign_roles = await shared_stack.fetch_rows(
        "SELECT DISTINCT grantee FROM information_schema.column_privileges"
        " WHERE table_schema = 'interview' AND grantee NOT LIKE 'interview%'"
    )
    assert not foreign_roles


async def test_its_calls_reach_all_three(shared_stack: RunningStack) -> None:
    """A session is started, two questions are answered, it is completed and evaluated."""
    interview = await started_interview(shared_stack)
    records = []
    for number in (1, 2):
        question = await interview.next_question()
        assert question is not None
        assert question.number == number
        records.append(await interview.answer(question.question_id, f"my answer {number}"))
    assert (await interview.complete()).status == session_pb2.SESSION_STATUS_COMPLETED
    assert await interview.list_qa_records() == records
    assert [record.answer for record in records] == ["my answer 1", "my answer 2"]
    created = await interview.create_feedback(records[0].question.question_id)
    get_feedback = interview_service_pb2.GetFeedbackRequest(session_id=interview.session_id)
    feedback = (await shared_stack.clients.interviews.GetFeedback(get_feedback)).feedback
    assert feedback == created
    assert (feedback.rating, feedback.summary) == (4, "Good.")
    session = await interview.get_session()
    assert session.status == session_pb2.SESSION_STATUS_EVALUATED
    assert session.answered_count == len(records)
