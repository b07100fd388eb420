"""Local cache: repeated previews of a code within the cache's time make no further call to payment.

An event about the code ends the entry: the next preview asks again and tells what is new.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from interview.v1 import interview_service_pb2
from payment.v1 import access_code_service_pb2
from tests.system.drivers.access_codes import interview_heard, suspend
from tests.system.drivers.running_stack import PAID, RunningStack
from tests.system.drivers.stack_runner import running
from tests.system.drivers.stack_settings import settings

METHOD = "/payment.v1.AccessCodeService/ValidateAccessCode"
# So long that no entry ends by its time while a test runs, however slow the machine is.
_SECONDS = "600"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def caching(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A stack whose previews stay in the cache until an event ends them."""
    directory = tmp_path_factory.mktemp("caching")
    told = settings(directory)
    interview = {**told.environment["interview"], "INTERVIEW_PREVIEW_SECONDS": _SECONDS}
    told = replace(told, environment={**told.environment, "interview": interview})
    async with running(directory, told) as stack, stack.connect() as clients:
        yield RunningStack(stack, clients)


def _calls(outside: RunningStack) -> int:
    """How often interview has asked payment."""
    asked = {"event": "call", "method": METHOD, "caller": "service:interview"}
    return len(outside.log_lines("payment", **asked))


async def _preview(
    outside: RunningStack, code: str
) -> interview_service_pb2.CheckAccessCodeResponse:
    request = interview_service_pb2.CheckAccessCodeRequest(access_code=code)
    return await outside.clients.interviews.CheckAccessCode(request)


async def test_proof_32_repeated_previews_make_one_call(caching: RunningStack) -> None:
    """Ten previews of one code, typed in several ways: one call. Another code: another call."""
    _, order_id, code = await caching.prepared()
    await caching.wait_for_effects(order_id, PAID)
    before = _calls(caching)
    first = await _preview(caching, code)
    assert first.valid
    assert _calls(caching) == before + 1
    for typed in (code, code.lower(), code.replace("-", "")) * 3:
        assert await _preview(caching, typed) == first
    assert _calls(caching) == before + 1
    _, another_id, another = await caching.prepared()
    await caching.wait_for_effects(another_id, PAID)
    assert (await _preview(caching, another)).valid
    assert _calls(caching) == before + 2


async def test_proof_32_an_event_about_the_code_ends_its_entry(caching: RunningStack) -> None:
    """Held back by an operator: the next preview asks payment and says SUSPENDED."""
    _, order_id, code = await caching.prepared()
    await caching.wait_for_effects(order_id, PAID)
    assert (await _preview(caching, code)).valid
    await suspend(caching, order_id)
    await interview_heard(caching, order_id, "SUSPENDED")
    await caching.wait_until_idle()
    before = _calls(caching)
    changed = await _preview(caching, code)
    assert not changed.valid
    assert changed.reason == access_code_service_pb2.VALIDATION_REASON_SUSPENDED
    assert _calls(caching) == before + 1
    assert await _preview(caching, code) == changed
    assert _calls(caching) == before + 1


async def test_proof_32_a_start_never_trusts_the_cache(caching: RunningStack) -> None:
    """A code whose preview is cached is asked about again when its interview starts."""
    journey, order_id, code = await caching.prepared()
    await caching.wait_for_effects(order_id, PAID)
    await _preview(caching, code)
    before = _calls(caching)
    await journey.start(code)
    assert _calls(caching) == before + 1
