"""The client in examples/ works as it stands."""

import asyncio
import sys

from devstack.commands import PROJECT
from interview.v1 import interview_service_pb2, session_pb2
from runtime.auth.authentication import Role
from tests.system.drivers.running_stack import RunningStack


async def test_the_example_takes_a_customer_from_order_to_interview(
    shared_stack: RunningStack,
) -> None:
    """It asks for the code that came by mail, and prints the session that it has started."""
    journey = shared_stack.journey()
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROJECT / "examples" / "client.py"),
        shared_stack.devstack.address("payment"),
        shared_stack.devstack.address("interview"),
        shared_stack.devstack.keys.token("a shop", Role.STOREFRONT),
        journey.email,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code = await journey.code_from_mail()
    said, complained = await client.communicate(f"{code}\n".encode())
    assert client.returncode == 0, complained.decode()
    session_id = said.decode().rpartition("mail: ")[2].split()[0]
    request = interview_service_pb2.GetSessionRequest(session_id=session_id)
    session = (await shared_stack.clients.interviews.GetSession(request)).session
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
