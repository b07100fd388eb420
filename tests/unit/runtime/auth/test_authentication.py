"""Tokens and keys: whom a server believes, and what."""

import base64
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from devstack.keys import Keys
from runtime.auth.authentication import (
    Caller,
    Role,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TokenVerifier,
)
from runtime.auth.keys import KeySet
from runtime.auth.signing import TokenSigner
from tests.fakes.clock import FakeClock


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    keys = Keys(tmp_path)
    keys.prepare()
    return keys


@pytest.fixture
def verifier(keys: Keys) -> TokenVerifier:
    return TokenVerifier(KeySet(keys.public), "payment")


def token(keys: Keys, *roles: Role, issuer: str = "identity", subject: str = "li.hua") -> str:
    return TokenSigner(keys.private(issuer)).issue(subject, ["payment"], roles)


def signed(keys: Keys, changes: Mapping[str, object]) -> str:
    """A token of the identity provider with changed claims; None removes one."""
    key = json.loads(keys.private("identity").read_text())
    claims: dict[str, object] = {
        "iss": "identity",
        "sub": "li.hua",
        "aud": "payment",
        "exp": time.time() + 60,
        "roles": ["customer"],
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, jwt.PyJWK(key).key, "EdDSA", headers={"kid": key["kid"]})


def test_a_token_says_who_its_bearer_is(keys: Keys, verifier: TokenVerifier) -> None:
    caller = verifier.verify(f"Bearer {token(keys, Role.CUSTOMER)}")
    assert caller == Caller("li.hua", frozenset({Role.CUSTOMER}))
    assert caller.customer == "li.hua"


def test_a_verified_token_is_believed_again_until_it_expires(
    keys: Keys, verifier: TokenVerifier
) -> None:
    bearer = f"Bearer {token(keys, Role.OPERATOR)}"
    assert verifier.verify(bearer) is verifier.verify(bearer)


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic abc", "token"])
def test_no_token_is_missing(verifier: TokenVerifier, authorization: str) -> None:
    with pytest.raises(TokenMissing):
        verifier.verify(authorization)


@pytest.mark.parametrize(
    "garbage",
    [
        *("x", "a.b.c", "..", "eyJhbGciOiJub25lIn0.e30.", "é"),
        f"{base64.urlsafe_b64encode(b'[' * 6000).decode()}.e30.",
    ],
)
def test_garbage_is_invalid(verifier: TokenVerifier, garbage: str) -> None:
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {garbage}")


def test_an_expired_token_is_expired(keys: Keys, verifier: TokenVerifier) -> None:
    old = TokenSigner(keys.private("identity")).issue(
        "li.hua", ["payment"], [Role.CUSTOMER], timedelta(seconds=-10)
    )
    with pytest.raises(TokenExpired):
        verifier.verify(f"Bearer {old}")


@pytest.mark.parametrize("issued_at", [0, 2**33, "yesterday", None])
def test_the_time_of_issue_bounds_nothing(
    keys: Keys, verifier: TokenVerifier, issued_at: object
) -> None:
    """The clock of the issuer may be ahead; `exp` bounds the token."""
    forged = signed(keys, {"iat": issued_at})
    assert verifier.verify(f"Bearer {forged}").name == "li.hua"


def test_a_cached_token_expires(keys: Keys) -> None:
    clock = FakeClock()
    clock.now = time.time()
    verifier = TokenVerifier(KeySet(keys.public), "payment", clock=clock)
    bearer = f"Bearer {signed(keys, {'exp': clock.now + 30})}"
    assert verifier.verify(bearer).name == "li.hua"
    clock.now += 29
    assert verifier.verify(bearer).name == "li.hua"
    clock.now += 4
    with pytest.raises(TokenExpired):
        verifier.verify(bearer)


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "sub", "roles"])
def test_a_token_without_a_claim_is_refused_by_a_sentence_that_names_it(
    keys: Keys, verifier: TokenVerifier, claim: str
) -> None:
    with pytest.raises(TokenInvalid, match=rf"\b{claim}\b") as refused:
        verifier.verify(f"Bearer {signed(keys, {claim: None})}")
    assert len(str(refused.value).split()) > 4


@pytest.mark.parametrize(
    "changes",
    [
        {"roles": []},
        {"roles": "customer"},
        {"roles": {"customer": True}},
        {"roles": ["admin", 7, ["customer"]]},
        {"roles": ["customer", "service"]},
        {"sub": ""},
        {"sub": " "},
        {"sub": "\t\u3000"},
        {"sub": 7},
        {"aud": ""},
        {"aud": ["interview"]},
        {"iss": "interview"},
        {"exp": float("inf")},
        {"exp": "tomorrow"},
    ],
    ids=str,
)
def test_a_claim_that_does_not_fit_makes_a_token_invalid(
    keys: Keys, verifier: TokenVerifier, changes: dict[str, object]
) -> None:
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {signed(keys, changes)}")


def test_a_key_signs_for_its_own_issuer_only(keys: Keys, verifier: TokenVerifier) -> None:
    """Although payment is an issuer too, and the name in the token is its own."""
    key = json.loads(keys.private("interview").read_text())
    claims = {
        "iss": "payment",
        "sub": "payment",
        "aud": "payment",
        "exp": time.time() + 60,
        "roles": ["service"],
    }
    forged = jwt.encode(claims, jwt.PyJWK(key).key, "EdDSA", headers={"kid": key["kid"]})
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {forged}")


def test_roles_of_other_systems_are_left_out(keys: Keys, verifier: TokenVerifier) -> None:
    bearer = f"Bearer {signed(keys, {'roles': ['offline_access', 'customer']})}"
    assert verifier.verify(bearer).roles == {Role.CUSTOMER}


@pytest.mark.parametrize(("seconds", "is_valid"), [(3600 + 30, True), (3600 + 120, False)])
def test_a_token_that_lives_too_long_is_invalid(
    keys: Keys, seconds: float, *, is_valid: bool
) -> None:
    """A minute more is the difference between two clocks."""
    verifier = TokenVerifier(KeySet(keys.public), "payment", timedelta(hours=1))
    bearer = f"Bearer {signed(keys, {'exp': time.time() + seconds})}"
    if is_valid:
        assert verifier.verify(bearer)
        return
    with pytest.raises(TokenInvalid, match="maximal lifetime"):
        verifier.verify(bearer)


def test_without_a_setting_a_token_lives_a_day_at_most(keys: Keys, verifier: TokenVerifier) -> None:
    assert verifier.verify(f"Bearer {keys.token('li.hua', Role.CUSTOMER)}")
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {signed(keys, {'exp': time.time() + 25 * 3600})}")


@pytest.mark.parametrize(("seconds", "is_valid"), [(30, True), (600, False)])
def test_a_token_is_valid_from_its_time_on_or_by_another_clock(
    keys: Keys, verifier: TokenVerifier, seconds: float, *, is_valid: bool
) -> None:
    bearer = f"Bearer {signed(keys, {'nbf': time.time() + seconds, 'exp': time.time() + 900})}"
    if is_valid:
        assert verifier.verify(bearer)
        return
    with pytest.raises(TokenInvalid):
        verifier.verify(bearer)


def test_a_token_for_another_service_is_invalid(keys: Keys) -> None:
    with pytest.raises(TokenInvalid):
        TokenVerifier(KeySet(keys.public), "interview").verify(
            f"Bearer {token(keys, Role.CUSTOMER)}"
        )


def test_a_service_vouches_for_itself_only(keys: Keys, verifier: TokenVerifier) -> None:
    own = token(keys, Role.SERVICE, issuer="interview", subject="interview")
    assert verifier.verify(f"Bearer {own}").roles == {Role.SERVICE}
    for roles, subject in (([Role.SERVICE], "payment"), ([Role.OPERATOR], "interview")):
        forged = token(keys, *roles, issuer="interview", subject=subject)
        with pytest.raises(TokenInvalid):
            verifier.verify(f"Bearer {forged}")


def test_the_identity_provider_may_not_vouch_for_a_service(
    keys: Keys, verifier: TokenVerifier
) -> None:
    forged = token(keys, Role.SERVICE, subject="interview")
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {forged}")


def test_a_public_key_can_not_be_used_as_a_shared_secret(
    keys: Keys, verifier: TokenVerifier
) -> None:
    public = json.loads(keys.public.read_text())["keys"][0]
    claims = {
        "iss": "identity",
        "sub": "x",
        "aud": "payment",
        "exp": 2**33,
        "roles": ["operator"],
    }
    forged = jwt.encode(claims, public["x"] * 2, "HS256", headers={"kid": public["kid"]})
    with pytest.raises(TokenInvalid):
        verifier.verify(f"Bearer {forged}")


def test_two_keys_of_one_issuer_live_side_by_side_and_a_removed_one_ends(
    keys: Keys, tmp_path: Path
) -> None:
    ring = KeySet(keys.public)
    verifier = TokenVerifier(ring, "payment")
    old = f"Bearer {token(keys, Role.CUSTOMER)}"
    assert verifier.verify(old)
    newer = Keys(tmp_path / "newer")
    newer.prepare()
    both = [
        key for file in (keys.public, newer.public) for key in json.loads(file.read_text())["keys"]
    ]
    keys.public.write_text(json.dumps({"keys": both}))
    ring.reload()
    new = f"Bearer {token(newer, Role.CUSTOMER)}"
    assert verifier.verify(old) == verifier.verify(new)
    keys.public.write_bytes(newer.public.read_bytes())
    ring.reload()
    with pytest.raises(TokenInvalid):
        verifier.verify(old)
    assert verifier.verify(new)


def test_a_ring_that_becomes_unreadable_keeps_what_it_knew(keys: Keys) -> None:
    ring = KeySet(keys.public)
    verifier = TokenVerifier(ring, "payment")
    keys.public.write_text("{")
    ring.reload()
    assert verifier.verify(f"Bearer {token(keys, Role.CUSTOMER)}")


@pytest.mark.usefixtures("keys")
def test_keys_and_tokens_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 9
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
