"""`make check-migrations` finds migrations that would block the service's calls."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from devstack.commands import PROJECT
from runtime.database.revisions import head_revision

PACKAGE = "notification_svc"
CODE = head_revision(PACKAGE)
NEXT = f"{int(CODE) + 1:04}"


def lint(directory: Path, *statements: str, accepted: str = "{}") -> tuple[int, str]:
    """Exit status and output for a copy of the package with one more migration."""
    copy = directory / PACKAGE
    shutil.copytree(PROJECT / PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "migrations" / "versions" / f"{NEXT}_next.py").write_text(
        "from alembic import op\n"
        f'revision, down_revision, oldest_served_code = "{NEXT}", "{CODE}", "{CODE}"\n'
        f"accepted_locks = {accepted}\n"
        f"def upgrade():\n    for statement in {statements!r}:\n        op.execute(statement)\n"
    )
    paths = [directory, PROJECT, PROJECT / "gen"]
    script = PROJECT / "deploy" / "postgres" / "lint_migrations.py"
    result = subprocess.run(  # noqa: S603  our own command
        [sys.executable, "-P", script, PACKAGE],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not result.stderr
    return result.returncode, result.stdout


TABLE = "notification.notifications"


PLANTED = {
    f"CREATE INDEX planted_idx ON {TABLE} (email)": "require-concurrent-index-creation",
    f"ALTER TABLE {TABLE} ALTER COLUMN email TYPE varchar(9)": "changing-column-type",
    f"ALTER TABLE {TABLE} ADD CONSTRAINT c CHECK (attempts > 0)": "constraint-missing-not-valid",
    f"ALTER TABLE {TABLE} ALTER COLUMN due_at SET NOT NULL": "adding-not-nullable-field",
}


def test_planted_locks_are_found(tmp_path: Path) -> None:
    """With the file, the rule and the statement."""
    status, output = lint(tmp_path, *PLANTED)
    assert status == 1
    for line, (statement, rule) in zip(output.splitlines(), PLANTED.items(), strict=True):
        assert f"{NEXT}_next.py: {rule}: {statement}" in line


def test_a_harmless_migration_is_accepted(tmp_path: Path) -> None:
    assert lint(tmp_path, f"ALTER TABLE {TABLE} ADD COLUMN colour text") == (0, "")


def test_a_migration_may_accept_a_rule_with_a_reason(tmp_path: Path) -> None:
    statement = f"CREATE INDEX planted_idx ON {TABLE} (email)"
    accepted = "{'require-concurrent-index-creation': 'the table is small'}"
    assert lint(tmp_path, statement, accepted=accepted) == (0, "")


def test_an_accepted_rule_that_does_not_apply_is_an_error(tmp_path: Path) -> None:
    """Otherwise it would accept a later mistake."""
    status, output = lint(
        tmp_path, f"ALTER TABLE {TABLE} ADD COLUMN colour text", accepted="{'ban-x': ''}"
    )
    assert status == 1
    assert "accepted_locks: ban-x does not apply" in output
