"""What opsctl makes of what operators type, and of what they are shown."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from google.protobuf.duration_pb2 import Duration
from rich.console import Console

from ops.v1 import ops_service_pb2
from opsctl import timeline
from opsctl.clients import Services, each
from opsctl.commands.journey import say
from opsctl.commands.refunds import refunds
from opsctl.errors import CallFailed, Problem
from opsctl.money import money
from opsctl.order_history import Story, tell
from opsctl.output import age, name_of, plain, table
from opsctl.target import SERVICES, Given
from opsctl.time_arguments import parse_since
from opsctl.timeline import Entry
from payment.v1 import access_code_pb2, access_code_service_pb2, money_pb2, payment_service_pb2
from runtime.protobuf import to_timestamp

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("30s", NOW - timedelta(seconds=30)),
        ("15m", NOW - timedelta(minutes=15)),
        (" 2 h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T10:00Z", datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ("2026-05-01 10:00:30+08:00", datetime(2026, 5, 1, 2, 0, 30, tzinfo=UTC)),
    ],
)
def test_ages_and_times_are_understood(typed: str, meant: datetime) -> None:
    assert parse_since(typed, NOW) == meant


@pytest.mark.parametrize("typed", ["", "15", "m", "-5m", "15 minutes", "999999d", "yesterday"])
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_since(typed, NOW)


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (19900, "CNY", "199.00 CNY"),
        (5, "CNY", "0.05 CNY"),
        (0, "USD", "0.00 USD"),
        (19900, "JPY", "19900 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (12345, "TND", "12.345 TND"),
        (12345, "XOF", "12345 XOF"),
        (12345, "PYG", "12345 PYG"),
        (12345, "CLF", "1.2345 CLF"),
        (0, "", ""),
    ],
)
def test_money_is_shown_in_its_currencys_unit(minor: int, currency: str, shown: str) -> None:
    assert money(money_pb2.Money(amount_minor=minor, currency_code=currency)) == shown


class ManyRefunds(Services):
    """Services of which payment has so many refunds, in pages of 500."""

    def __init__(self, count: int) -> None:
        self._refunds = [payment_service_pb2.Refund(refund_id=f"ref_{n}") for n in range(count)]

    async def call(
        self, method: str, request: Any, *, at: str = "", seconds: float = 0
    ) -> payment_service_pb2.ListRefundsResponse:
        assert (method, at, seconds) == ("PaymentService.ListRefunds", "", 0)
        start = int(request.page_token or 0)
        end = start + request.page_size
        return payment_service_pb2.ListRefundsResponse(
            refunds=self._refunds[start:end],
            next_page_token=str(end) if end < len(self._refunds) else "",
        )


@pytest.mark.parametrize(
    ("count", "most", "says_more"),
    [(501, 500, True), (500, 500, False), (1001, 1000, True), (3, 2, True), (2, 2, False)],
)
def test_a_list_that_is_cut_off_says_so(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    count: int,
    most: int,
    says_more: bool,
) -> None:
    """Also where the cut is the end of a page."""
    monkeypatch.setattr(
        "opsctl.commands.refunds.run", lambda _given, work: asyncio.run(work(ManyRefunds(count)))
    )
    context = typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)))
    with pytest.raises(typer.Exit):
        refunds(context, overdue=False, most=most)
    assert (f"only the newest {most} are shown" in capsys.readouterr().out) is says_more


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "-"), (1.25, "1.2 s"), (90, "1.5 m"), (5400, "1.5 h"), (129600, "1.5 d")],
)
def test_ages_are_shown_in_a_fitting_unit(seconds: float, shown: str) -> None:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    assert age(duration) == shown


def test_a_terminal_gets_nothing_to_obey() -> None:
    """Neither escape sequences nor markup: what came by the bus may be hostile."""
    out = io.StringIO()
    console = Console(file=out, markup=False, highlight=False, emoji=False, width=200)
    console.print(table("t", ["a"], [["\x1b[2J[red]x[/red] :smile: \u202e\x9b1m"]]))
    shown = out.getvalue()
    assert "[red]x[/red] :smile:" in shown
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
    assert plain("two\nlines") == "two\nlines"


def test_an_enum_value_of_a_newer_contract_is_shown_as_its_number() -> None:
    assert name_of(payment_service_pb2.OrderStatus, 2, "ORDER_STATUS_") == "PAID"
    assert name_of(payment_service_pb2.OrderStatus, 99, "ORDER_STATUS_") == "99"


def test_what_has_not_happened_has_no_place_in_the_timeline() -> None:
    refund = payment_service_pb2.Refund(
        refund_id="ref", full=True, status=payment_service_pb2.REFUND_STATUS_PENDING, asks=2
    )
    refund.created_at.CopyFrom(to_timestamp(NOW))
    refund.asked_at.CopyFrom(to_timestamp(NOW + timedelta(seconds=1)))
    entries = list(timeline.of_refund(refund))
    assert [entry.what for entry in entries] == ["full refund begun", "interview asked for it"]
    assert entries[0].at == NOW


def test_a_codes_issue_is_told_once_and_its_changes_with_who_and_why() -> None:
    active, revoked = (
        access_code_pb2.ACCESS_CODE_STATUS_ACTIVE,
        access_code_pb2.ACCESS_CODE_STATUS_REVOKED,
    )
    changed_at = to_timestamp(NOW)
    issue = access_code_service_pb2.AccessCodeEvent(after=active, changed_at=changed_at)
    change = access_code_service_pb2.AccessCodeEvent(
        access_code_id="acc",
        before=active,
        after=revoked,
        changed_at=changed_at,
        actor="operator:mei",
        reason="fraud",
    )
    assert list(timeline.of_code_event(issue)) == []
    [entry] = timeline.of_code_event(change)
    assert entry.what == "access code ACTIVE → REVOKED"
    assert entry.detail == "by operator:mei, fraud"


def test_what_is_given_goes_before_what_a_devstack_wrote(tmp_path: Path) -> None:
    (tmp_path / "addresses.json").write_text('{"payment": "a:1", "interview": "b:2"}')
    given = Given({"payment": "c:3", "interview": ""}, None, None, "", tmp_path)
    found = [given.address(name) for name in ("payment", "interview", "notification")]
    assert found == ["c:3", "b:2", ""]
    with pytest.raises(Problem, match="no token"):
        given.token()


@pytest.mark.parametrize("written", ["", "[]", "{", "\x00"])
def test_a_damaged_file_of_a_devstack_tells_nothing(tmp_path: Path, written: str) -> None:
    (tmp_path / "addresses.json").write_text(written)
    assert Given({}, None, None, "", tmp_path).address("payment") == ""


async def test_a_service_that_hangs_is_named_with_its_address_and_the_time_it_had(
    tmp_path: Path,
) -> None:
    """It takes the call, and that is all."""
    token, over = tmp_path / "token", asyncio.Event()
    token.write_text("a token")

    async def mute(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        given = Given({"payment": f"{host}:{port}"}, token, None, "", tmp_path)
        async with Services(given) as services:
            request = ops_service_pb2.GetBusStatusRequest()
            with pytest.raises(CallFailed) as failed:
                await services.call("OpsService.GetBusStatus", request, at="payment", seconds=0.25)
        over.set()
    assert str(failed.value) == f"payment at {host}:{port} didn't answer within 0.25 s"
    assert failed.value.code == "DEADLINE_EXCEEDED"


async def test_services_are_asked_side_by_side() -> None:
    """Each answers only when all were asked."""
    asked: set[str] = set()
    all_asked = asyncio.Event()

    async def ask(name: str) -> str:
        asked.add(name)
        if asked == set(SERVICES):
            all_asked.set()
        await asyncio.wait_for(all_asked.wait(), 10)
        return f"{name}'s answer"

    answers = await each(SERVICES, ask)
    assert answers == {name: f"{name}'s answer" for name in SERVICES}


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("unread", [[], ["ListSessions: interview\x1b hangs", "events: li@x.com"]])
def test_a_story_with_a_part_missing_is_told_and_is_no_success(
    capsys: pytest.CaptureFixture[str], unread: list[str], as_json: bool
) -> None:
    """What is there goes to standard output; what isn't, line by line, to standard error."""
    story = Story("ord_x", entries=[Entry(NOW, "payment", "order created", "x")], unread=unread)
    status = say(story, reveal=False, as_json=as_json)
    told = capsys.readouterr()
    assert "order created" in told.out
    assert status == (1 if unread else 0)
    lines = told.err.splitlines()
    assert len(lines) == len(unread)
    assert all(line.startswith("opsctl: could not be read: ") for line in lines)
    assert not {"\x1b", "li@x.com"} & {*told.err, *told.err.split()}


async def test_a_story_without_an_address_of_nats_says_that_its_events_are_missing(
    tmp_path: Path,
) -> None:
    """Nobody is there to be asked; the address that isn't known is a part missing like others."""
    token = tmp_path / "token"
    token.write_text("a token")
    given = Given(dict.fromkeys(SERVICES, "127.0.0.1:1"), token, None, "", tmp_path)
    async with Services(given) as services:
        story = await tell(services, f"ord_{'0' * 26}", "", reveal=False)
    *_, last = story.unread
    assert last == "events: no address of NATS is known; name it with --nats"
