"""Keys of users in the form of NATS."""

import stat
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from eventbus import __main__ as command
from eventbus.jetstream.nkeys import find_key, public_key, seed

# An example of NATS's documentation.
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC_KEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


def test_a_seed_of_nats_gives_its_public_key() -> None:
    key = find_key(f"{SEED}\n")
    assert key
    assert public_key(key) == PUBLIC_KEY
    assert seed(key) == SEED


def test_a_seed_is_found_between_other_lines() -> None:
    """As in the files of `nsc`."""
    key = find_key(f"-----BEGIN USER NKEY SEED-----\r\n{SEED}\r\n------END\n")
    assert key
    assert seed(key) == SEED


def test_a_seed_with_a_wrong_character_is_refused() -> None:
    with pytest.raises(ValueError, match="checksum"):
        find_key(SEED.replace("HUDX", "HUDY"))
    assert find_key("no seed at all") is None


def test_new_keys_writes_the_secret_for_the_user_and_the_public_key_for_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It replaces no key that exists."""
    monkeypatch.setattr(sys, "argv", ["eventbus", "new-keys", str(tmp_path), "payment", "trace"])
    command.main()
    for user in ("payment", "trace"):
        secret = tmp_path / f"{user}.nk"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        key = find_key(secret.read_text())
        assert key
        assert (tmp_path / f"{user}.conf").read_text() == f"nkey: {public_key(key)}\n"
    with pytest.raises(SystemExit, match="File exists"):
        command.main()


def test_seeds_of_any_key_are_read_back() -> None:
    for _ in range(20):
        key = Ed25519PrivateKey.generate()
        found = find_key(seed(key))
        assert found
        assert found.private_bytes_raw() == key.private_bytes_raw()
