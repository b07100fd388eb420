"""The client in examples/ works as it stands."""

import asyncio
import sys

from devstack.programs import PROJECT
from interview.v1 import interview_service_pb2, session_pb2
from tests.system.outside import Outside


async def test_the_example_takes_a_customer_from_order_to_interview(calm: Outside) -> None:
    """It prints the session that it has started."""
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROJECT / "examples" / "client.py"),
        calm.stack.address("payment"),
        calm.stack.address("interview"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await client.communicate()
    assert client.returncode == 0, complained.decode()
    request = interview_service_pb2.GetSessionRequest(session_id=said.decode().split()[0])
    session = (await calm.clients.interviews.GetSession(request)).session
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
