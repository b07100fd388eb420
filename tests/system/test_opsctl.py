"""An operator at a terminal: opsctl shows how all stands, tells an order's story, and mends."""

import asyncio
import json
import signal
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from nats.js.api import RawStreamMsg

from devstack.polling import wait_until
from ops.v1 import ops_service_pb2
from tests.system.drivers.db_faults import failing_session_insert
from tests.system.drivers.dead_letters import wait_for_dead_letter
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.grpc_calls import error_reason
from tests.system.drivers.opsctl import ended, opsctl, run, start
from tests.system.drivers.running_stack import RunningStack

SERVICES = ("payment", "interview", "notification")
_ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


async def _lose(stack: RunningStack, subject: str) -> RawStreamMsg:
    """A stream forgets a message, after everybody has taken it."""
    await stack.wait_until_idle()
    message = await stack.wait_for_message(subject)
    async with stack.nats() as client:
        await client.jetstream().delete_msg(subject.partition(".")[0].upper(), message.seq or 0)
    assert await stack.message_count(subject) == 0
    return message


# Looking


async def test_status_shows_the_bus_of_all_three(shared_stack: RunningStack) -> None:
    """Its exit status says whether somebody has to look."""
    shown = await opsctl(shared_stack, "status")
    for name in SERVICES:
        assert name in shown.out
    for part in ("PAYMENT → interview", "PAYMENT → notification", "INTERVIEW → payment"):
        assert part in shown.out
    said = await opsctl(shared_stack, "status", "--json")
    assert set(said.json["services"]) == set(SERVICES)
    assert said.json["services"]["payment"]["outbox"]["parked_count"] == "0"
    assert said.json["services"]["payment"]["broker_connected"] is True
    assert said.status == (1 if said.json["needs_operator"] else 0)


async def test_status_finds_a_devstack_in_the_current_directory(
    shared_stack: RunningStack, tmp_path: Path
) -> None:
    (tmp_path / ".dev").symlink_to(shared_stack.devstack.directory)
    said = await run("status", "--json", directory=tmp_path)
    assert not any("error" in answer for answer in said.json["services"].values())


async def test_everything_can_be_told_by_the_environment(
    shared_stack: RunningStack, tmp_path: Path
) -> None:
    environment = {
        f"OPSCTL_{name.upper()}": shared_stack.devstack.address(name) for name in SERVICES
    }
    environment["OPSCTL_TOKEN_FILE"] = str(shared_stack.devstack.keys.tokens / "operator")
    said = await run("status", "--json", directory=tmp_path, environment=environment)
    assert not any("error" in answer for answer in said.json["services"].values())


async def test_one_service_that_is_down_hides_no_other(disruptable_stack: RunningStack) -> None:
    await disruptable_stack.devstack.kill("interview")
    shown = await opsctl(disruptable_stack, "status")
    assert shown.status == 1
    assert "INTERVIEW → payment" in shown.out
    assert "interview at 127.0.0.1:" in shown.out
    assert "can't be reached" in shown.out
    said = await opsctl(disruptable_stack, "status", "--json")
    assert said.status == 1
    assert "can't be reached" in said.json["services"]["interview"]["error"]
    assert "outbox" in said.json["services"]["notification"]
    assert any("interview" in line for line in said.json["needs_operator"])


async def test_status_says_who_hangs_and_waits_only_once(disruptable_stack: RunningStack) -> None:
    """Two take the call and never answer: they are named with their addresses, and not alone."""
    hanging = ("payment", "interview")
    for name in hanging:
        disruptable_stack.devstack.suspend(name)
    loop = asyncio.get_running_loop()
    began = loop.time()
    shown = await opsctl(disruptable_stack, "status")
    # One patience of five seconds, not two; the rest is the start of the program.
    assert loop.time() - began < 10
    assert shown.status == 1
    for name in hanging:
        address = disruptable_stack.devstack.address(name)
        assert f"! {name} at {address} didn't answer within 5 s" in shown.out
    assert "INTERVIEW → notification" in shown.out


async def test_status_says_that_the_broker_hangs(disruptable_stack: RunningStack) -> None:
    """It, and not the services, which answer as long as their own databases do."""
    await disruptable_stack.wait_until_idle()
    disruptable_stack.devstack.suspend("nats")
    said = await opsctl(disruptable_stack, "status", "--json")
    assert said.status == 1
    lost = [line for line in said.json["needs_operator"] if "not connected" in line]
    assert len(lost) == len(SERVICES), said
    for answer in said.json["services"].values():
        assert {one["last_error"] for one in answer["consumers"]} == {
            "BrokerHangs: no answer within 2 s"
        }


async def test_status_says_that_the_broker_is_away(disruptable_stack: RunningStack) -> None:
    await disruptable_stack.devstack.kill("nats")

    async def noticed() -> bool:
        said = await opsctl(disruptable_stack, "status", "--json")
        lost = [line for line in said.json["needs_operator"] if "not connected" in line]
        return said.status == 1 and len(lost) == len(SERVICES)

    await wait_until(noticed, "all three say that they lost the broker")


async def test_journey_tells_what_happened_across_the_domains_in_order(
    shared_stack: RunningStack,
) -> None:
    """Records and events by time, secrets masked unless asked for."""
    journey, order_id, code = await shared_stack.prepare_session()
    await journey.start(code)
    await journey.redeemed(order_id)
    await journey.sent(order_id)
    await shared_stack.wait_until_idle()
    said = await opsctl(shared_stack, "journey", order_id, "--json")
    assert said.status == 0
    entries = said.json["timeline"]
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    whats = [entry["what"] for entry in entries]
    steps = [
        "order created",
        "payment SUCCEEDED",
        "payment.v1.PaymentCompleted",
        "session prepared",
        "interview started",
        "interview.v1.InterviewStarted",
        "payment.v1.AccessCodeRedeemed",
    ]
    places = [whats.index(step) for step in steps]
    assert places == sorted(places)
    assert whats.index("mail queued") < whats.index("mail sent")
    assert {entry["domain"] for entry in entries} == set(SERVICES)
    assert said.json["order"]["order_id"] == order_id
    assert code not in said.out
    assert journey.email not in said.out

    revealed = await opsctl(shared_stack, "journey", order_id, "--json", "--reveal")
    assert code in revealed.out
    assert journey.email in revealed.out

    shown = await opsctl(shared_stack, "journey", order_id)
    assert shown.status == 0
    assert f"{order_id}: PAID, backend-60" in shown.out
    for step in steps:
        assert step in shown.out
    assert code not in shown.out
    assert journey.email not in shown.out


async def test_journey_tells_the_rest_when_a_part_cant_be_read(
    disruptable_stack: RunningStack,
) -> None:
    """What is missing is said, and what it was."""
    _, order_id, _ = await disruptable_stack.prepare_session()
    await disruptable_stack.devstack.kill("interview")
    await disruptable_stack.devstack.kill("nats")
    shown = await opsctl(disruptable_stack, "journey", order_id)
    assert shown.status == 1
    assert "order created" in shown.out
    assert "mail queued" in shown.out
    assert "session prepared" not in shown.out
    sessions, events = shown.err.splitlines()
    assert sessions.startswith("opsctl: could not be read: ListSessions: interview at")
    assert events.startswith("opsctl: could not be read: events: no broker at")
    said = await opsctl(disruptable_stack, "journey", order_id, "--json")
    assert (said.status, said.err) == (1, shown.err)
    assert "order created" in [entry["what"] for entry in said.json["timeline"]]
    assert len(said.json["unread"]) == 2


async def test_refunds_are_listed_or_the_reason_is_told(shared_stack: RunningStack) -> None:
    said = await opsctl(shared_stack, "refunds", "--limit", "5")
    assert said.status == 0, said
    overdue = await opsctl(shared_stack, "refunds", "--overdue")
    assert overdue.status in (0, 1)
    assert overdue.err == ""


# Dead letters


async def test_dead_letters_are_listed_shown_and_discarded(disruptable_stack: RunningStack) -> None:
    """By id alone: which service has it is found out."""
    order_id = f"ord_{_ULID}"
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    async with disruptable_stack.nats() as client:
        await client.jetstream().publish(
            subject,
            b"\xff\xff",
            headers={"ce-id": f"\x1b[2Jevt-{disruptable_stack.journey().name}"},
        )

    async def found() -> list[dict[str, str]] | None:
        listed = (await opsctl(disruptable_stack, "dead-letters", "list", "--json")).json[
            "dead_letters"
        ]
        ours = [one for one in listed if one["subject"] == subject]
        return ours if len(ours) == 2 else None

    letters = await wait_until(found, "two consumers gave it up")
    assert {letter["service"] for letter in letters} == {"interview", "notification"}
    shown = await opsctl(disruptable_stack, "dead-letters", "list", "interview")
    assert order_id in shown.out
    status = await opsctl(disruptable_stack, "status", "--json")
    assert any("dead letters" in line for line in status.json["needs_operator"])

    for letter in letters:
        id_ = letter["dead_letter_id"]
        shown = await opsctl(disruptable_stack, "dead-letters", "show", id_)
        assert shown.status == 0
        assert subject in shown.out
        assert "can't be decoded" in shown.out
        assert "\x1b" not in shown.out
        refused = await opsctl(disruptable_stack, "dead-letters", "discard", id_, given="n\n")
        assert refused.status == 1
        done = await opsctl(disruptable_stack, "dead-letters", "discard", id_, "--yes")
        assert (done.status, done.err) == (0, "")
        again = await opsctl(disruptable_stack, "dead-letters", "discard", id_, "--yes")
        assert "DEAD_LETTER_CLOSED" in again.complaint()
        assert (await opsctl(disruptable_stack, "dead-letters", "show", id_)).status == 0
    listed = (await opsctl(disruptable_stack, "dead-letters", "list", "--json")).json[
        "dead_letters"
    ]
    assert not [one for one in listed if one["subject"] == subject]


async def test_dead_letters_are_replayed_by_type_and_what_fails_is_told(
    disruptable_stack: RunningStack,
) -> None:
    """The others go on; each takes effect once."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    event_type = "payment.v1.PaymentCompleted"
    async with failing_session_insert(disruptable_stack, order_id):
        await journey.pay(order_id)
        letter = await wait_for_dead_letter(disruptable_stack, order_id)
        id_ = letter.dead_letter_id
        failed = await opsctl(disruptable_stack, "dead-letters", "replay", id_)
        assert failed.status == 1
        assert "REPLAY_FAILED" in failed.out
        assert "0 of 1 dead letters replayed" in failed.out
        masked = await opsctl(disruptable_stack, "dead-letters", "show", id_)
        code = (await disruptable_stack.access_code(order_id)).code
        assert f"****-****-****-{code[-4:]}" in masked.out
        assert code not in masked.out
        assert (
            code in (await opsctl(disruptable_stack, "dead-letters", "show", id_, "--reveal")).out
        )
    none = await opsctl(
        disruptable_stack, "dead-letters", "replay", "--all", "--type", "no.v1.Such"
    )
    assert (none.status, none.out) == (0, "0 of 0 dead letters replayed\n")
    done = await opsctl(disruptable_stack, "dead-letters", "replay", "--all", "--type", event_type)
    assert f"replayed {id_}" in done.out
    assert done.status == 0, done
    await disruptable_stack.wait_for_effects(order_id, PAID)
    again = await opsctl(disruptable_stack, "dead-letters", "replay", id_)
    assert again.status == 1
    assert "DEAD_LETTER_CLOSED" in again.out


# Mending


async def test_what_a_stream_lost_is_found_and_published_again(
    disruptable_stack: RunningStack,
) -> None:
    """Nothing takes effect twice; the second run has nothing to mend."""
    journey, order_id, code = await disruptable_stack.prepare_session()
    await journey.start(code)
    await disruptable_stack.wait_for_effects(order_id, STARTED)
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    lost = await _lose(disruptable_stack, subject)
    event_id = (lost.headers or {})["ce-id"]

    found = await opsctl(disruptable_stack, "check-bus", "payment", "--since", "15m")
    assert found.status == 1
    assert event_id in found.out
    assert await disruptable_stack.message_count(subject) == 0
    mended = await opsctl(disruptable_stack, "check-bus", "--since", "15m", "--repair")
    assert mended.status == 0, mended
    assert event_id in mended.out
    again = await disruptable_stack.wait_for_message(subject)
    assert (again.headers or {})["ce-id"] == event_id
    assert again.data == lost.data
    await disruptable_stack.wait_for_effects(order_id, STARTED)
    second = await opsctl(disruptable_stack, "check-bus", "--since", "15m")
    assert second.status == 0
    assert event_id not in second.out


async def test_what_a_consumer_acknowledged_and_forgot_is_found_and_handled(
    disruptable_stack: RunningStack,
) -> None:
    journey, order_id, _ = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    stored = await disruptable_stack.wait_for_message(f"payment.v1.PaymentCompleted.{order_id}")
    event_id = (stored.headers or {})["ce-id"]
    async with disruptable_stack.sql() as superuser:
        await superuser.execute("DELETE FROM interview.inbox WHERE event_id = $1", event_id)
        await superuser.execute("DELETE FROM interview.cached_codes WHERE order_id = $1", order_id)
        await superuser.execute("DELETE FROM interview.sessions WHERE order_id = $1", order_id)
    found = await opsctl(disruptable_stack, "check-bus", "interview")
    assert found.status == 1
    assert event_id in found.out
    assert "PAYMENT → interview" in found.out
    mended = await opsctl(disruptable_stack, "check-bus", "interview", "--repair")
    assert mended.status == 0
    assert event_id in mended.out
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await journey.start((await disruptable_stack.access_code(order_id)).code)
    await disruptable_stack.wait_for_effects(order_id, STARTED)
    assert (await opsctl(disruptable_stack, "check-bus", "interview")).status == 0


async def test_republishing_brings_back_what_was_purged_and_nothing_happens_twice(
    disruptable_stack: RunningStack,
) -> None:
    """PaymentCompleted stands in the stream again, under the same id."""
    _, order_id, _ = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    before = await disruptable_stack.wait_for_message(subject)
    async with disruptable_stack.nats() as client:
        await client.jetstream().purge_stream("PAYMENT", subject="payment.v1.*.*")
    said = await opsctl(disruptable_stack, "republish", "payment", "--since", "30m")
    assert said.status == 0, said
    assert "events of payment wait to be published again" in said.out
    after = await disruptable_stack.wait_for_message(subject)
    assert (after.headers or {})["ce-id"] == (before.headers or {})["ce-id"]
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert (await opsctl(disruptable_stack, "check-bus", "--since", "30m")).status == 0


async def test_republishing_is_idempotent_by_its_request_id(
    disruptable_stack: RunningStack,
) -> None:
    """The first reply again; another body is refused."""
    await disruptable_stack.prepare_session()
    await disruptable_stack.wait_until_idle()
    ops, since = disruptable_stack.clients.ops["payment"], Timestamp()
    since.GetCurrentTime()
    since.seconds -= 600
    request = ops_service_pb2.RepublishEventsRequest(
        request_id=disruptable_stack.journey().name, since=since
    )
    first = await ops.RepublishEvents(request)
    assert first.event_count > 0
    await disruptable_stack.wait_until_idle()
    assert await ops.RepublishEvents(request) == first
    assert not await disruptable_stack.fetch_value("SELECT count(*) FROM payment.outbox")
    request.since.seconds += 1
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ops.RepublishEvents(request)
    assert error_reason(refused.value) == "REQUEST_ID_REUSED"


async def test_a_parked_event_is_shown_and_goes_out_once_it_is_tried_again(
    disruptable_stack: RunningStack,
) -> None:
    """It is the copy of one that was published before, so that it has no effect of its own."""
    _, order_id, _ = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_until_idle()
    columns = "id, type, key, data, source, traceparent, occurred_at"
    await disruptable_stack.fetch_rows(
        f"INSERT INTO payment.outbox ({columns}, parked_reason)"  # noqa: S608  our own names
        f" SELECT {columns}, 'too long' FROM payment.outbox_published"
        " WHERE key = $1 AND type = 'payment.v1.PaymentCompleted'",
        order_id,
    )
    said = await opsctl(disruptable_stack, "status")
    assert said.status == 1
    assert "payment: parked in the outbox: 1" in said.out
    said = await opsctl(disruptable_stack, "retry-parked", "payment")
    assert said.status == 0, said
    assert "1 parked events of payment wait to be published again" in said.out
    await disruptable_stack.wait_until_idle()
    said = await opsctl(disruptable_stack, "status", "--json")
    assert said.json["services"]["payment"]["outbox"]["parked_count"] == "0"
    assert not await disruptable_stack.fetch_value("SELECT count(*) FROM payment.outbox")
    await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_consistency_looks_at_everything_and_shows_what_it_compared(
    shared_stack: RunningStack,
) -> None:
    await shared_stack.wait_until_idle()
    said = await opsctl(shared_stack, "consistency", "--since", "5m")
    for name in SERVICES:
        assert f"{name}: " in said.out
    assert said.status == (0 if "nothing is left to mend" in said.out else 1)
    assert said.err == ""


async def test_without_the_broker_a_check_says_so(disruptable_stack: RunningStack) -> None:
    """BROKER_UNAVAILABLE with RetryInfo; no finding is told."""
    await disruptable_stack.devstack.kill("nats")
    said = await opsctl(disruptable_stack, "check-bus", "--repair")
    assert said.status == 1
    assert said.out.count("could not be read") == len(SERVICES)
    assert said.out.count("BROKER_UNAVAILABLE") == len(SERVICES)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await disruptable_stack.clients.ops["payment"].CheckBus(ops_service_pb2.CheckBusRequest())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert error_reason(refused.value) == "BROKER_UNAVAILABLE"
    assert b"RetryInfo" in dict(refused.value.trailing_metadata() or ())["grpc-status-details-bin"]


# What goes wrong


async def test_nothing_configured_is_one_clear_line(tmp_path: Path) -> None:
    said = await run("status", directory=tmp_path)
    assert "no service's address is known" in said.complaint()


async def test_no_token_is_one_clear_line(tmp_path: Path) -> None:
    said = await run("--payment", "127.0.0.1:1", "status", directory=tmp_path)
    assert "no token" in said.complaint()
    said = await run("--payment", "127.0.0.1:1", "--token-file", "none", "status")
    assert "can't be read" in said.complaint()


async def test_a_service_that_cant_be_reached_is_one_clear_line(
    shared_stack: RunningStack,
) -> None:
    said = await opsctl(
        shared_stack, "--payment", "127.0.0.1:1", "republish", "payment", "--since", "1m"
    )
    assert "payment at 127.0.0.1:1 can't be reached" in said.complaint()


@pytest.mark.parametrize("token", ["nonsense", "", "customer"])
async def test_a_refused_token_is_one_clear_line(
    shared_stack: RunningStack, tmp_path: Path, token: str
) -> None:
    file = tmp_path / "token"
    customers = shared_stack.devstack.keys.tokens / "customer"
    file.write_text(customers.read_text("utf-8") if token == "customer" else token)
    said = await opsctl(
        shared_stack, "--token-file", str(file), "republish", "payment", "--since", "1m"
    )
    assert ("refuses the token" if token else "holds no token") in said.complaint()


async def test_what_does_not_exist_is_one_clear_line(shared_stack: RunningStack) -> None:
    said = await opsctl(shared_stack, "dead-letters", "show", f"dlq_{_ULID}")
    assert f"no service has a dead letter dlq_{_ULID}" in said.complaint()
    said = await opsctl(shared_stack, "journey", f"ord_{_ULID}")
    assert said.complaint()


@pytest.mark.parametrize(
    "arguments",
    [
        ("journey", "nonsense"),
        ("republish", "payment"),
        ("republish", "payment", "--since", "nonsense"),
        ("republish", "provider", "--since", "1m"),
        ("retry-parked",),
        ("retry-parked", "provider"),
        ("dead-letters", "show", "nonsense"),
        ("dead-letters", "replay"),
        ("dead-letters", "replay", "--all", f"dlq_{_ULID}"),
        ("dead-letters", "replay", "--type", "x", f"dlq_{_ULID}"),
        ("check-bus", "--since", "tomorrow"),
        ("no-such-command",),
        ("status", "--no-such-option"),
    ],
)
async def test_a_wrong_call_has_status_2_and_an_explanation(
    shared_stack: RunningStack, arguments: tuple[str, ...]
) -> None:
    said = await opsctl(shared_stack, *arguments)
    assert (said.status, said.out) == (2, "")
    assert "Usage" in said.err


async def test_interrupting_leaves_no_traceback(shared_stack: RunningStack) -> None:
    """Also while a service that took the call never answers."""
    connected, interrupted, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def mute(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await interrupted.wait()
        writer.close()
        left.set()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        directory = ("--data-dir", str(shared_stack.devstack.directory))
        process = await start(*directory, "--payment", f"{host}:{port}", "status")
        await asyncio.wait_for(connected.wait(), 30)
        process.send_signal(signal.SIGINT)
        said = await ended(process)
        interrupted.set()
        await left.wait()
    assert said.status != 0
    assert said.out == ""


async def test_json_is_all_that_goes_to_standard_output(shared_stack: RunningStack) -> None:
    """A program can read it whatever the terminal is."""
    for command in (("status",), ("dead-letters", "list")):
        said = await opsctl(shared_stack, *command, "--json")
        assert isinstance(json.loads(said.out), dict)
        assert said.err == ""
