"""Tables at any width: ids are never broken, and what is piped has one line per row."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from opsctl.output import console
from opsctl.tables import table

IDS = [f"ntf_{number:026}" for number in range(3)], [f"ord_{number:026}" for number in range(3)]
ERROR = "554 5.7.1 mail rejected as spam by a server that explains itself at length"
COLUMNS = ("mail", "order", "attempts #", "last error")
ROWS = [(mail, order, 12, f"{ERROR} 李华") for mail, order in zip(*IDS, strict=True)]


def printed(width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, highlight=False).print(
        table("Mails", COLUMNS, ROWS)
    )
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", range(60, 220, 3))
def test_no_id_is_broken_at_any_width(width: int) -> None:
    lines = printed(width)
    text = "\n".join(lines)
    for id_ in (*IDS[0], *IDS[1]):
        assert text.count(id_) == 1
    for word in ERROR.split():
        assert text.count(word) >= len(ROWS)
    assert max(map(cell_len, lines)) <= width


def test_a_narrow_terminal_gets_the_fields_of_each_row() -> None:
    lines = [line.rstrip() for line in printed(60)]
    assert lines[0] == "Mails"
    assert lines[2] == f"mail        {IDS[0][0]}"
    assert lines[4] == "attempts    12"


def test_a_wider_terminal_gets_a_table_with_wrapped_texts() -> None:
    lines = printed(120)
    assert IDS[0][0] in lines[4]
    assert IDS[1][0] in lines[4]
    assert len(lines) > len(ROWS) + 5


def test_a_pipe_gets_one_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(table("Mails", COLUMNS, [(*ROWS[0][:3], "long " * 1000)]))
    console().print("! a problem of " + "many " * 1000 + "words")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if IDS[0][0] in line and line.count("long") == 1000]
    assert lines[-1].startswith("! a problem")
    assert lines[-1].endswith("words")


def test_an_empty_table_has_its_header() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(table("Mails", COLUMNS, []))
    assert "last error" in out.getvalue()
