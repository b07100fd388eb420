"""Passwords of roles: what the server gets of them."""

import base64

import pytest

from runtime.database.roles import InvalidPassword, verifier


def test_a_verifier_has_the_form_that_postgresql_stores() -> None:
    """That it accepts it, every stack shows: its roles log in with what this computes."""
    salt = base64.b64decode("AAAAAAAAAAAAAAAAAAAAAA==")
    text = verifier("pencil", salt)
    kind, iterations_and_salt, keys = text.split("$")
    assert (kind, iterations_and_salt) == ("SCRAM-SHA-256", "4096:AAAAAAAAAAAAAAAAAAAAAA==")
    assert [len(base64.b64decode(key)) for key in keys.split(":")] == [32, 32]


def test_a_verifier_does_not_contain_the_password_and_is_new_each_time() -> None:
    assert "pencil" not in verifier("pencil")
    assert verifier("pencil") != verifier("pencil")


@pytest.mark.parametrize("password", ["", "pass\nword", "密码", "p\0"])
def test_a_password_that_clients_could_write_in_two_ways_is_refused(password: str) -> None:
    with pytest.raises(InvalidPassword, match="printable ASCII"):
        verifier(password)
