"""No log contains an access code or a mail address, whatever happens."""

import grpc
import pytest

from interview.v1 import interview_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_service_pb2
from tests.builders.payment_requests import create_order_request
from tests.system.drivers.db_faults import failing_inserts
from tests.system.drivers.dead_letters import replay_dead_letter, wait_for_dead_letter
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.running_stack import RunningStack


def _lines_with(stack: RunningStack, text: str, except_logs: tuple[str, ...] = ()) -> list[str]:
    """The log lines that contain a text, in lower case or without its hyphens too."""
    forms = {text, text.lower(), text.replace("-", ""), text.replace("-", "").lower()}
    forms.add(text.replace("-", " "))
    return [
        f"{path.name}: {line}"
        for path in (stack.devstack.directory / "logs").iterdir()
        if path.stem not in except_logs
        for line in path.read_text("utf-8", "replace").splitlines()
        if any(form in line for form in forms)
    ]


@pytest.mark.parametrize("language", ["zh-CN", "en"])
async def test_a_journey_logs_neither_code_nor_address(
    shared_stack: RunningStack, language: str
) -> None:
    """In no process of the stack; also if the code is typed in other forms, or wrong."""
    journey = shared_stack.journey(language_code=language)
    order_id = await journey.paid_order()
    await shared_stack.wait_for_effects(order_id, PAID)
    code = (await shared_stack.access_code(order_id)).code
    for typed in (code.lower(), code.replace("-", ""), code.replace("-", " ")):
        check = interview_service_pb2.CheckAccessCodeRequest(access_code=typed)
        assert (await shared_stack.clients.interviews.CheckAccessCode(check)).valid
        by_code = access_code_service_pb2.GetAccessCodeRequest(access_code=typed)
        await shared_stack.clients.codes.GetAccessCode(by_code)
    with pytest.raises(grpc.aio.AioRpcError):
        await journey.start(f"{code}0")
    await journey.start(code)
    with pytest.raises(grpc.aio.AioRpcError):
        await shared_stack.journey().start(code)
    await shared_stack.wait_for_effects(order_id, STARTED)
    assert _lines_with(shared_stack, code) == []
    assert _lines_with(shared_stack, journey.email) == []
    assert _lines_with(shared_stack, order_id)  # the search finds what is logged


async def test_an_address_that_the_mail_server_refuses_is_not_logged(
    shared_stack: RunningStack,
) -> None:
    """Although the server's reply quotes it."""
    journey = shared_stack.journey()
    email = f"{journey.name}+reject@example.com"
    request = create_order_request(journey.name, email)
    order = (await shared_stack.clients.payments.CreateOrder(request)).order
    await journey.pay(order.order_id)
    await shared_stack.wait_until_true(
        "SELECT EXISTS (SELECT FROM notification.notifications"
        " WHERE order_id = $1 AND status = 'FAILED')",
        order.order_id,
    )
    assert _lines_with(shared_stack, email) == []
    code = (await shared_stack.access_code(order.order_id)).code
    assert _lines_with(shared_stack, code) == []


async def test_an_error_text_with_code_and_address_is_masked(
    disruptable_stack: RunningStack,
) -> None:
    """In interview's log, in its bus status and in its dead letter."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    error = f"'code % of {journey.email}', NEW.code"
    async with failing_inserts(disruptable_stack, "interview.cached_codes", order_id, error):
        await journey.pay(order_id)
        dead_letter = await wait_for_dead_letter(disruptable_stack, order_id)
        status = await disruptable_stack.clients.ops["interview"].GetBusStatus(
            ops_service_pb2.GetBusStatusRequest()
        )
    code = (await disruptable_stack.access_code(order_id)).code
    for secret in (code, journey.email):
        # PostgreSQL logs the test's own trigger.
        assert _lines_with(disruptable_stack, secret, except_logs=("postgres",)) == []
        assert secret not in dead_letter.reason
        assert secret not in str(status)
    await replay_dead_letter(disruptable_stack, dead_letter)
    await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_a_statement_that_the_database_rejects_is_logged_without_its_values(
    shared_stack: RunningStack,
) -> None:
    """Neither the parameters nor the row of an unexpected error are logged."""
    journey = shared_stack.journey()
    name = f"李华 {journey.name[-8:]}"
    constraint = "CHECK (display_name NOT LIKE '李华%') NOT VALID"
    async with shared_stack.sql() as superuser:
        await superuser.execute(f"ALTER TABLE payment.orders ADD CONSTRAINT no_li {constraint}")
        try:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await shared_stack.clients.payments.CreateOrder(
                    create_order_request(journey.name, journey.email, display_name=name)
                )
        finally:
            await superuser.execute("ALTER TABLE payment.orders DROP CONSTRAINT no_li")
    assert error.value.code() is grpc.StatusCode.INTERNAL
    (entry,) = [
        entry
        for entry in shared_stack.log_entries("payment", event="unexpected error")
        if "no_li" in entry["exception"]
    ]
    assert "INSERT INTO payment.orders" in entry["exception"]
    # PostgreSQL's own log may contain the values.
    assert _lines_with(shared_stack, name, except_logs=("postgres",)) == []
