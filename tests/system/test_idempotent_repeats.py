"""Repeats that overtake nothing: the first call takes effect while its repeat is on its way."""

import asyncio

from devstack.polling import wait_until
from interview.v1 import interview_service_pb2 as contract
from tests.system.drivers.interviews import started
from tests.system.drivers.running_stack import RunningStack

_REPLY = "caller = $1 AND method = $2 AND request_id = $3"


async def test_feedback_whose_first_call_ends_meanwhile_gets_the_first_reply(
    shared_stack: RunningStack,
) -> None:
    """The repeat finds no reply yet; when it reads the session, that is EVALUATED already."""
    interview = await started(shared_stack)
    await interview.complete()
    request = contract.CreateFeedbackRequest(
        request_id="first", session_id=interview.session_id, rating=4, summary="Good."
    )
    first = await shared_stack.clients.interviews.CreateFeedback(request)
    async with shared_stack.sql() as superuser:
        (stored,) = await superuser.fetch(
            "SELECT * FROM interview.request_replies"
            " WHERE method LIKE '%.CreateFeedbackResponse' AND request_id = 'first'"
        )
        key = (stored["caller"], stored["method"], stored["request_id"])
        await superuser.execute(f"DELETE FROM interview.request_replies WHERE {_REPLY}", *key)  # noqa: S608  our own words
        # The first call as it stands before its commit: whoever asks for its reply finds none.
        async with superuser.transaction():
            await superuser.execute("LOCK TABLE interview.sessions IN ACCESS EXCLUSIVE MODE")
            await superuser.execute(
                "INSERT INTO interview.request_replies VALUES ($1, $2, $3, $4, $5, $6)",
                *stored.values(),
            )
            repeat = asyncio.ensure_future(shared_stack.clients.interviews.CreateFeedback(request))

            async def repeat_waits() -> bool:
                return bool(
                    await shared_stack.value(
                        "SELECT EXISTS (SELECT FROM pg_stat_activity"
                        " WHERE usename = 'interview_runtime' AND wait_event_type = 'Lock'"
                        " AND query LIKE '%' || $1 || '%session_id%')",
                        "FROM interview.sessions",
                    )
                )

            await wait_until(repeat_waits, "the repeat reads the session")
    assert await repeat == first
