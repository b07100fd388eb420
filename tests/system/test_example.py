"""The client in examples/ runs unchanged against a stack."""

import asyncio
import sys

from devstack.commands import PROJECT
from interview.v1 import interview_service_pb2, session_pb2
from runtime.auth.authentication import Role
from tests.system.drivers.running_stack import RunningStack


async def start_example(stack: RunningStack, token: str, email: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROJECT / "examples" / "client.py"),
        stack.devstack.address("payment"),
        stack.devstack.address("interview"),
        token,
        email,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_example_leads_a_customer_from_order_to_interview(
    shared_stack: RunningStack,
) -> None:
    """It reads the mailed access code from standard input and prints the started session."""
    journey = shared_stack.journey()
    token = shared_stack.devstack.keys.token("a shop", Role.STOREFRONT)
    client = await start_example(shared_stack, token, journey.email)
    code = await journey.wait_for_mailed_code()
    out, err = await client.communicate(f"{code}\n".encode())
    assert client.returncode == 0, err.decode()
    session_id = out.decode().rpartition("mail: ")[2].split()[0]
    request = interview_service_pb2.GetSessionRequest(session_id=session_id)
    session = (await shared_stack.clients.interviews.GetSession(request)).session
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS


async def test_the_example_prints_a_failed_call_as_one_line(shared_stack: RunningStack) -> None:
    client = await start_example(shared_stack, "not-a-token", "li.hua@example.com")
    out, err = await client.communicate()
    assert (client.returncode, out) == (1, b"")
    assert err.decode().startswith("payment rejected the token: ")
    assert err.decode().rstrip().endswith("(TOKEN_INVALID)")
