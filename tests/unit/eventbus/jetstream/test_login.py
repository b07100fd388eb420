"""Broker addresses and logins: one parser for services, commands and devstack."""

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from eventbus import __main__ as command
from eventbus.jetstream import BrokerLogin, InvalidBrokerLogin
from eventbus.jetstream.nkeys import seed
from tests.builders.certificates import write_certificate


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("nats://broker.example:4223", ["nats://broker.example:4223"]),
        ("broker.example", ["nats://broker.example:4222"]),
        ("nats://a.example, b.example:1", ["nats://a.example:4222", "nats://b.example:1"]),
        ("tls://a.example,b.example", ["tls://a.example:4222", "tls://b.example:4222"]),
        ("nats://me:secret@[::1]:4222/", ["nats://[::1]:4222"]),
    ],
)
def test_an_address_is_taken_in_these_forms(url: str, servers: list[str]) -> None:
    assert list(BrokerLogin.parse(url).servers) == servers


def test_user_and_password_of_an_address_are_decoded_and_kept_out_of_it() -> None:
    login = BrokerLogin.parse("nats://me:p%40ss@a.example,nats://me:p%40ss@b.example")
    assert (login.user, login.password) == ("me", "p@ss")
    assert login.address == "nats://a.example:4222,nats://b.example:4222"
    assert "p@ss" not in repr(login)
    assert BrokerLogin.parse(login.url) == login


def test_a_given_user_replaces_that_of_the_address_and_a_lone_user_is_a_token() -> None:
    url = "nats://other:secret@a.example"
    assert BrokerLogin.parse(url, "me", "own").connect_options()["password"] == "own"
    assert BrokerLogin.parse("nats://t0ken@a.example").connect_options()["token"] == "t0ken"


@pytest.mark.parametrize("url", ["nats://admin@a.example", "nats://admin:old@a.example"])
def test_a_given_password_belongs_to_the_user_of_the_address(url: str) -> None:
    options = BrokerLogin.parse(url, password="secret").connect_options()
    assert (options["user"], options["password"]) == ("admin", "secret")
    assert "token" not in options


@pytest.mark.parametrize(
    ("url", "user", "password", "problem"),
    [
        ("nats://a.example", "admin", "", "a user is given without a password"),
        ("nats://admin:@a.example", "", "", "a user is given without a password"),
        ("nats://a.example", "", "secret", "a password is given without a user"),
        ("nats://:secret@a.example", "", "", "it has a password without a user"),
    ],
)
def test_half_a_login_is_refused_and_no_token(
    url: str, user: str, password: str, problem: str
) -> None:
    with pytest.raises(InvalidBrokerLogin, match=problem):
        BrokerLogin.parse(url, user, password)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nats://",
        "nats://me:secret@localhost:abc",
        "nats://me:secret@localhost:70000",
        "nats://me:secret@localhost:0",
        "nats://me:secret@",
        "http://me:secret@localhost",
        "ws://me:secret@localhost",
        "nats://me:secret@[::1",
        "nats://localhost:4222,",
        "nats://me:secret/key@localhost",
        "nats://localhost/secret",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidBrokerLogin) as refused:
        BrokerLogin.parse(url)
    assert "secret" not in str(refused.value)


def test_roots_and_a_client_certificate_demand_tls_of_every_server(tmp_path: Path) -> None:
    certificate, key, _ = write_certificate(tmp_path)
    for files in (
        {"tls_roots": certificate},
        {"tls_certificate": certificate, "tls_key": key},
    ):
        login = BrokerLogin.parse("nats://a.example,b.example", **files)
        assert login.address == "tls://a.example:4222,tls://b.example:4222"
        assert "tls" in login.connect_options()


def test_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    certificate, key, _ = write_certificate(tmp_path)
    damaged = tmp_path / "user.creds"
    damaged.write_text("-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n")
    none = tmp_path / "none.pem"
    for files, problem in (
        ({"tls_roots": none}, "none.pem cannot be read"),
        ({"tls_roots": key}, "key.pem cannot be read"),
        ({"tls_certificate": certificate, "tls_key": none}, "none.pem cannot be read"),
        ({"tls_certificate": certificate}, "must be given together"),
        ({"tls_key": key, "tls_roots": certificate}, "must be given together"),
        ({"tls_key": key}, "must be given together"),
        ({"credentials": none}, "none.pem cannot be read"),
        ({"credentials": damaged}, "does not contain the seed"),
    ):
        with pytest.raises(InvalidBrokerLogin, match=problem):
            BrokerLogin.parse("nats://a.example", **files)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "eventbus: environment variable 'NATS_URL' is not set\n"),
        ("nats://me:secret@a:b", "eventbus: setting NATS_URL: it has an invalid host or port\n"),
        ("foo bar", "eventbus: setting NATS_URL: it has an invalid host or port\n"),
        ("nats://a..example", "eventbus: setting NATS_URL: it has an invalid host or port\n"),
        (f"nats://{'a' * 64}.example", "setting NATS_URL: it has an invalid host or port\n"),
        ("nats://a,nats://b:c", "setting NATS_URL: address 2 has an invalid host or port\n"),
    ],
)
def test_the_topology_command_refuses_an_unusable_address_with_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str | None,
    problem: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["eventbus", "apply", "topology.toml"])
    monkeypatch.delenv("NATS_URL", raising=False)
    if url:
        monkeypatch.setenv("NATS_URL", url)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(problem)


def test_the_topology_command_names_a_misspelt_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["eventbus", "apply", str(tmp_path / "none.toml")])
    monkeypatch.setenv("NATS_URL", "nats://localhost")
    monkeypatch.setenv("NATS_PASWORD", "secret")
    with pytest.raises(SystemExit):
        command.main()
    assert (
        "eventbus: environment variable NATS_PASWORD is not a setting and has no effect;"
        " did you mean NATS_PASSWORD?\n"
    ) in capsys.readouterr().err


def test_a_key_replaces_user_and_password(tmp_path: Path) -> None:
    """Also for the inbox, whose name is that of the service then."""
    credentials = tmp_path / "user.nk"
    credentials.write_text(f"{seed(Ed25519PrivateKey.generate())}\n")
    login = BrokerLogin.parse("nats://other:secret@localhost", "me", "secret", credentials)
    assert (login.user, login.password) == ("", "")
    assert "user" not in login.connect_options()
