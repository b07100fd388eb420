"""Checks the locks that migrations take, by squawk: `make check-migrations`.

Each revision is rendered as the migration command runs it. A revision may accept a rule of squawk
by `accepted_locks`, a dict of rules with the reason; a rule that does not apply to it is an error.
Prints one line per finding and exits with status 1 if there is one. Arguments: packages of
services, by default all.
"""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alembic.script import Script, ScriptDirectory

from runtime.database.migrate import render
from runtime.database.served_code import config_of

PACKAGES = ("payment_svc", "interview_svc", "notification_svc")
# Rules about types, and not about locks.
_EXCLUDED = ("prefer-bigint-over-int", "prefer-text-field")
# The oldest version that operations.md asks for.
_POSTGRES = "15"


def findings(sql: str) -> list[Mapping[str, Any]]:
    """What squawk finds in the SQL of one revision."""
    program = Path(sysconfig.get_path("scripts")) / "squawk"
    options = ["--pg-version", _POSTGRES, "--reporter", "json", "--exclude", ",".join(_EXCLUDED)]
    result = subprocess.run(  # noqa: S603  our own command
        [program, *options, "--stdin-filepath", "migration.sql"],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.stderr.strip():
        raise SystemExit(f"squawk: {result.stderr}")
    found: list[Mapping[str, Any]] = json.loads(result.stdout or "[]")
    return found


def faults(package: str, script: Script) -> Iterator[str]:
    """Lines about one revision."""
    sql = render(package, f"{script.down_revision or 'base'}:{script.revision}")
    accepted: Mapping[str, str] = getattr(script.module, "accepted_locks", {})
    found = findings(sql)
    for finding in found:
        if finding["rule_name"] not in accepted:
            line = sql.splitlines()[finding["line"]].strip()
            yield f"{finding['rule_name']}: {line}: {finding['message']} {finding['help'] or ''}"
    for rule in accepted.keys() - {finding["rule_name"] for finding in found}:
        yield f"accepted_locks: {rule} does not apply"


def main() -> None:
    count = 0
    for package in sys.argv[1:] or PACKAGES:
        for script in ScriptDirectory.from_config(config_of(package)).walk_revisions():
            for fault in faults(package, script):
                sys.stdout.write(f"{script.path}: {fault}\n")
                count += 1
    raise SystemExit(1 if count else 0)


if __name__ == "__main__":
    main()
