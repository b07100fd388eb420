"""Addresses and token: from options first, then from a devstack's files."""

import subprocess
import sys
from pathlib import Path

import pytest

from clients import Service
from opsctl.errors import UserError
from opsctl.target import Target


def test_given_addresses_take_precedence_over_those_of_a_devstack(tmp_path: Path) -> None:
    (tmp_path / "addresses.json").write_text('{"payment": "a:1", "interview": "b:2"}')
    target = Target({Service.PAYMENT: "c:3", Service.INTERVIEW: ""}, None, None, "", tmp_path)
    assert [target.address(service) for service in Service] == ["c:3", "b:2", ""]
    with pytest.raises(UserError, match="no token"):
        target.token()


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00"])
def test_a_damaged_address_file_gives_no_addresses(tmp_path: Path, content: str) -> None:
    (tmp_path / "addresses.json").write_text(content)
    target = Target({}, None, None, "", tmp_path)
    assert target.address(Service.PAYMENT) == ""
    with pytest.raises(UserError, match="no address of a service is known"):
        target.connect()


def test_unreadable_tls_roots_are_a_user_error(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token")
    addresses = {Service.PAYMENT: "127.0.0.1:1"}
    target = Target(addresses, token, tmp_path / "none.pem", "", tmp_path)
    with pytest.raises(UserError, match=r"TLS roots cannot be read: .*none\.pem"):
        target.connect()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--nats", "foo://x", "journey", f"ord_{26 * '0'}"], "the address of NATS or its login"),
        (["--payment", "http://x:1", "status"], "the address of payment"),
    ],
)
def test_an_address_that_cannot_be_used_is_a_wrong_argument(
    tmp_path: Path, options: list[str], problem: str
) -> None:
    token = tmp_path / "token"
    token.write_text("a-token")
    given = ["--token-file", str(token), "--data-dir", str(tmp_path), "--payment", "127.0.0.1:1"]
    command = [sys.executable, "-m", "opsctl", *given, *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"opsctl: {problem}")
    assert ended.stderr.count("\n") == 1
