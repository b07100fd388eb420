"""Kinds of values that settings have, beside numbers, texts and addresses."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Json, SecretStr

from runtime.auth.identity_providers import IdentityProvider


def _not_blank(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("it must not be empty or blank")
    return secret


def _not_empty(path: object) -> object:
    if path == "":  # a path would be the working directory
        raise ValueError("it must not be empty")
    return path


RequiredSecret = Annotated[SecretStr, AfterValidator(_not_blank)]
RequiredFile = Annotated[Path, BeforeValidator(_not_empty)]
# An empty variable is the same as none.
OptionalFile = Annotated[Path | None, BeforeValidator(lambda path: path or None)]
JsonProviders = Annotated[
    Json[tuple[IdentityProvider, ...]], BeforeValidator(lambda text: text or "[]")
]
