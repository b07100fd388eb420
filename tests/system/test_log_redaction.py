"""No access code and no mail address in any log, whatever happened."""

import grpc
import pytest

from devstack.polling import wait_until
from interview.v1 import interview_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2, payment_service_pb2
from tests.system.drivers.running_stack import PAID, STARTED, RunningStack


def _told(outside: RunningStack, secret: str, but: tuple[str, ...] = ()) -> list[str]:
    """Log lines that tell a secret, written in whatever way."""
    forms = {secret, secret.lower(), secret.replace("-", ""), secret.replace("-", "").lower()}
    forms.add(secret.replace("-", " "))
    return [
        f"{path.name}: {line}"
        for path in (outside.stack.directory / "logs").iterdir()
        if path.stem not in but
        for line in path.read_text("utf-8", "replace").splitlines()
        if any(form in line for form in forms)
    ]


@pytest.mark.parametrize("language", ["zh-CN", "en"])
async def test_no_log_tells_a_code_or_an_address_after_a_journey(
    shared_stack: RunningStack, language: str
) -> None:
    """Services, servers, mailbox and provider; also when the code is typed in other ways."""
    journey = shared_stack.journey(language_code=language)
    order_id = await journey.paid_order()
    await shared_stack.wait_for_effects(order_id, PAID)
    code = (await shared_stack.code(order_id)).code
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
    assert _told(shared_stack, code) == []
    assert _told(shared_stack, journey.email) == []
    assert _told(shared_stack, order_id)  # the look works


async def test_no_log_tells_an_address_that_the_mail_server_refuses(
    shared_stack: RunningStack,
) -> None:
    """The refusal quotes the address; the log doesn't."""
    journey = shared_stack.journey()
    email = f"{journey.name}+reject@example.com"
    request = payment_service_pb2.CreateOrderRequest(
        request_id=journey.name,
        customer_id=journey.name,
        product_id="backend-60",
        recipient=access_code_pb2.Recipient(email=email),
    )
    order = (await shared_stack.clients.payments.CreateOrder(request)).order
    await journey.pay(order.order_id)
    await shared_stack.until_true(
        "SELECT EXISTS (SELECT FROM notification.notifications"
        " WHERE order_id = $1 AND status = 'FAILED')",
        order.order_id,
    )
    assert _told(shared_stack, email) == []
    assert _told(shared_stack, (await shared_stack.code(order.order_id)).code) == []


async def test_an_error_that_quotes_code_and_address_is_masked(
    disruptable_stack: RunningStack,
) -> None:
    """In interview's log, in its bus status, and in what it tells of its dead letter."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    async with disruptable_stack.sql() as superuser:
        await superuser.execute(
            "CREATE FUNCTION interview.blab() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION 'code % of {journey.email}', NEW.code; END $$"
        )
        await superuser.execute(
            "CREATE TRIGGER blab BEFORE INSERT ON interview.cached_codes FOR EACH ROW"
            f" WHEN (NEW.order_id = '{order_id}') EXECUTE FUNCTION interview.blab()"
        )
    ops = disruptable_stack.clients.ops["interview"]
    try:
        await journey.pay(order_id)

        async def look() -> ops_service_pb2.DeadLetter | None:
            listed = await ops.ListDeadLetters(ops_service_pb2.ListDeadLettersRequest())
            return next((one for one in listed.dead_letters if one.key == order_id), None)

        letter = await wait_until(look, "a dead letter", 60)
        status = await ops.GetBusStatus(ops_service_pb2.GetBusStatusRequest())
    finally:
        async with disruptable_stack.sql() as superuser:
            await superuser.execute("DROP TRIGGER blab ON interview.cached_codes")
            await superuser.execute("DROP FUNCTION interview.blab()")
    code = (await disruptable_stack.code(order_id)).code
    # PostgreSQL's own log says what the trigger said: that one is the test's doing.
    assert _told(disruptable_stack, code, but=("postgres",)) == []
    assert _told(disruptable_stack, journey.email, but=("postgres",)) == []
    for secret in (code, journey.email):
        assert secret not in letter.reason
        assert secret not in str(status)
    replay = ops_service_pb2.ReplayDeadLetterRequest(
        dead_letter_id=letter.dead_letter_id, request_id=f"{letter.dead_letter_id}-Replay"
    )
    await ops.ReplayDeadLetter(replay)
    await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_no_log_tells_what_the_database_was_given_when_it_refuses(
    shared_stack: RunningStack,
) -> None:
    """An error that nobody expected is logged: its parameters, and the row that it was about."""
    journey = shared_stack.journey()
    name = f"李华 {journey.name[-8:]}"
    constraint = "CHECK (display_name NOT LIKE '李华%') NOT VALID"
    async with shared_stack.sql() as superuser:
        await superuser.execute(f"ALTER TABLE payment.orders ADD CONSTRAINT no_li {constraint}")
        try:
            request = payment_service_pb2.CreateOrderRequest(
                request_id=journey.name,
                customer_id=journey.name,
                product_id="backend-60",
                recipient=access_code_pb2.Recipient(email=journey.email, display_name=name),
            )
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await shared_stack.clients.payments.CreateOrder(request)
        finally:
            await superuser.execute("ALTER TABLE payment.orders DROP CONSTRAINT no_li")
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    (told,) = [
        line
        for line in shared_stack.log_lines("payment", event="unexpected error")
        if "no_li" in line["exception"]
    ]
    assert "INSERT INTO payment.orders" in told["exception"]
    # PostgreSQL keeps a log of its own, for its own keepers.
    assert _told(shared_stack, name, but=("postgres",)) == []
