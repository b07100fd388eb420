"""Variables whose value is in a file, and what is said of a file that cannot be read."""

from pathlib import Path

import pytest

from eventbus.variable_files import VariableFilesUnreadable, values_of_files, with_files

VALUE = "s3cret"


def test_a_file_has_the_value_of_the_variable(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(VALUE)
    environ = {"PASSWORD_FILE": str(tmp_path / "password"), "OTHER": "1"}
    assert with_files(["PASSWORD", "URL"], environ) == {**environ, "PASSWORD": VALUE}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (f"{VALUE}\n", VALUE),
        (f"{VALUE}\r\n", VALUE),
        (f"{VALUE}\n\n", f"{VALUE}\n"),
        (f" {VALUE} ", f" {VALUE} "),
        ("", ""),
        ("密码\n", "密码"),
    ],
)
def test_one_newline_at_the_end_does_not_belong_to_the_value(
    tmp_path: Path, content: str, value: str
) -> None:
    (tmp_path / "password").write_bytes(content.encode())
    assert values_of_files(["PASSWORD"], {"PASSWORD_FILE": str(tmp_path / "password")}) == {
        "PASSWORD": value
    }


def test_an_empty_name_of_a_file_is_none() -> None:
    assert values_of_files(["PASSWORD"], {"PASSWORD_FILE": "", "PASSWORD": VALUE}) == {}


def fault(environ: dict[str, str]) -> str:
    with pytest.raises(VariableFilesUnreadable) as raised:
        values_of_files(["PASSWORD"], environ)
    assert VALUE not in str(raised.value)
    return str(raised.value)


def test_both_forms_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(VALUE)
    environ = {"PASSWORD_FILE": str(tmp_path / "password"), "PASSWORD": VALUE}
    assert fault(environ) == "PASSWORD_FILE: PASSWORD is set too: only one of them may be"


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert fault({"PASSWORD_FILE": str(missing)}) == (
        f"PASSWORD_FILE: {missing} cannot be read: No such file or directory"
    )
    assert fault({"PASSWORD_FILE": str(tmp_path)}).endswith("cannot be read: Is a directory")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xff\xfe" + VALUE.encode())
    assert fault({"PASSWORD_FILE": str(tmp_path / "password")}).endswith("is not text in UTF-8")
    assert "larger than" in fault({"PASSWORD_FILE": "/dev/zero"})


def test_every_fault_is_told() -> None:
    with pytest.raises(VariableFilesUnreadable) as raised:
        values_of_files(["A", "B"], {"A_FILE": "/missing/a", "B_FILE": "/missing/b"})
    assert [fault.variable for fault in raised.value.faults] == ["A_FILE", "B_FILE"]
