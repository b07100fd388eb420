"""`opsctl journey`: an incomplete history."""

import json
from datetime import UTC, datetime

import pytest

from opsctl.commands.journey import print_history
from opsctl.order_history import OrderHistory
from opsctl.timeline import Entry

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("errors", [[], ["sessions: interview\x1b hangs", "events: li@x.com"]])
def test_an_incomplete_history_is_printed_and_has_exit_status_1(
    capsys: pytest.CaptureFixture[str], errors: list[str], as_json: bool
) -> None:
    """What was read goes to standard output, each error to a line of standard error."""
    entry = Entry(NOW, "payment", "order created", "x")
    history = OrderHistory("ord_x", entries=[entry], errors=errors)
    status = print_history(history, reveal=False, as_json=as_json)
    printed = capsys.readouterr()
    assert "order created" in printed.out
    assert status == (1 if errors else 0)
    lines = printed.err.splitlines()
    assert len(lines) == len(errors)
    assert all(line.startswith("opsctl: could not be read: ") for line in lines)
    assert not {"\x1b", "li@x.com"} & {*printed.err, *printed.err.split()}


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    "address", ["li.hua@x.com", "li.hua@mail", '"li.hua ,"@mail', "李.华@例子.中国"]
)
def test_addresses_are_masked_unless_revealed(
    capsys: pytest.CaptureFixture[str], address: str, as_json: bool
) -> None:
    """In valid JSON, if that is asked for."""
    entry = Entry(NOW, "notification", "mail queued", "ntf_1", f"to {address}, SENT")
    history = OrderHistory("ord_x", entries=[entry], errors=[])
    print_history(history, reveal=False, as_json=as_json)
    masked = capsys.readouterr().out
    print_history(history, reveal=True, as_json=as_json)
    revealed = capsys.readouterr().out
    if as_json:
        masked = json.loads(masked)["timeline"][0]["detail"]
        revealed = json.loads(revealed)["timeline"][0]["detail"]
    assert address not in masked
    assert f"***@{address.rpartition('@')[2]}, SENT" in masked.replace('"', "")
    assert address in revealed
