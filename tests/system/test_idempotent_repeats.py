"""A repeated call whose first call takes effect while the repeat is running."""

import asyncio

from devstack.polling import wait_until
from interview.v1 import interview_service_pb2
from tests.system.drivers.interviews import started_interview
from tests.system.drivers.running_stack import RunningStack

_KEY = "caller = $1 AND method = $2 AND request_id = $3"


async def test_repeated_feedback_whose_first_call_commits_meanwhile_gets_the_first_reply(
    shared_stack: RunningStack,
) -> None:
    """The repeat waits at its claim until the first call commits; the session is EVALUATED then."""
    interview = await started_interview(shared_stack)
    await interview.complete()
    create_feedback = shared_stack.clients.interviews.CreateFeedback
    request = interview_service_pb2.CreateFeedbackRequest(
        request_id="first", session_id=interview.session_id, rating=4, summary="Good."
    )
    first = await create_feedback(request)
    async with shared_stack.sql() as superuser:
        (stored,) = await superuser.fetch(
            "SELECT * FROM interview.request_replies"
            " WHERE method LIKE '%.CreateFeedbackResponse' AND request_id = 'first'"
        )
        key = (stored["caller"], stored["method"], stored["request_id"])
        await superuser.execute(f"DELETE FROM interview.request_replies WHERE {_KEY}", *key)  # noqa: S608
        # The state before the first call commits: its claim blocks the claim of the repeat.
        async with superuser.transaction():
            await superuser.execute(
                "INSERT INTO interview.request_replies VALUES ($1, $2, $3, $4, $5, $6)",
                *stored.values(),
            )
            repeat = asyncio.ensure_future(create_feedback(request))

            async def repeat_waits() -> bool:
                return bool(
                    await shared_stack.fetch_value(
                        "SELECT EXISTS (SELECT FROM pg_stat_activity"
                        " WHERE usename = 'interview_runtime' AND wait_event_type = 'Lock'"
                        " AND query LIKE '%' || $1 || '%')",
                        "INSERT INTO interview.request_replies",
                    )
                )

            await wait_until(repeat_waits, "the repeat's claim")
    assert await repeat == first
