"""The stack's passwords: random per data directory, created once, readable by their owner only."""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from runtime.files import write_private


def load_secrets(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Returns the secrets stored in `path`, by name; creates and stores missing ones."""
    stored: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    missing = [name for name in names if name not in stored]
    if missing:
        # Starts with a letter: nats-server parses a value that looks like a number as one.
        stored |= {name: f"s{secrets.token_hex(20)}" for name in missing}
        write_private(path, json.dumps(stored, indent=2, sort_keys=True))
    return stored
