"""Runs the tests against a random sample of mutants: `make mutants MUTANTS=60 SEED=1`.

mutmut writes every mutant, a small change of one function, to a copy of the product in mutants/,
and runs the unit tests that call the function. With --integration, the sample consists of mutants
of the bus that no unit test calls; each is tested by the bus's integration tests in a copy of the
project.

Printed is the diff of every mutant that no test noticed, except those in equivalent.toml, which
change no behaviour. Exits with 1 if a mutant survived.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MUTANTS = ROOT / "mutants"
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
_MUTMUT = str(Path(sys.executable).with_name("mutmut"))
_SURVIVED = 0  # exit code of the tests of a mutant
_ANY = "eventbus.backoff.*"
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "mutants", "build", "node_modules")


@dataclass(frozen=True, slots=True)
class Change:
    """The lines that a mutant removes from a function and adds to it."""

    function: str
    removed: str
    added: str


def run_mutmut(*names: str) -> None:
    """Writes all mutants and tests the named ones; mutmut shows its progress."""
    status = subprocess.run([_MUTMUT, "run", *names], cwd=ROOT, check=False).returncode  # noqa: S603
    if status != 0:
        raise SystemExit(f"mutmut failed with status {status}")


def exit_codes() -> dict[str, int | None]:
    """Returns the exit code of the tests by mutant; None if they were not run."""
    found: dict[str, int | None] = {}
    for path in MUTANTS.rglob("*.py.meta"):
        found |= json.loads(path.read_text("utf-8"))["exit_code_by_key"]
    return found


def is_called_by_unit_tests(mutant: str, called: set[str]) -> bool:
    """Whether a unit test calls the function that a mutant changes."""
    return mutant.rpartition("__mutmut_")[0] in called


def called_functions() -> set[str]:
    """Returns the functions that unit tests call, by mutmut's names for them."""
    statistics = json.loads((MUTANTS / "mutmut-stats.json").read_text("utf-8"))
    return set(statistics["tests_by_mangled_function_name"])


def diff_of(mutant: str) -> str:
    """Returns the unified diff of a mutant."""
    command = [_MUTMUT, "show", mutant]
    shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    return shown.stdout


def change_of(mutant: str, diff: str) -> Change:
    """Returns what a diff removes and adds: each without indentation, joined by spaces."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    removed, added = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    module, _, mangled = mutant.rpartition("__mutmut_")[0].rpartition(".")
    name = mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    return Change(f"{module}.{name}", removed, added)


def equivalent_changes() -> dict[Change, str]:
    """Returns the changes that change no behaviour, with the reasons."""
    return {
        Change(one["function"], one["removed"], one["added"]): one["reason"]
        for one in tomllib.loads(EQUIVALENT.read_text("utf-8"))["mutant"]
    }


def survivors_of_unit_tests(sample: list[str]) -> list[str]:
    """Returns the mutants that no unit test noticed."""
    run_mutmut(*sample)
    codes = exit_codes()
    return [mutant for mutant in sample if codes[mutant] == _SURVIVED]


def survivors_of_integration_tests(sample: list[str]) -> Iterator[str]:
    """Yields the mutants that no integration test of the bus noticed."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "project"
        shutil.copytree(ROOT, copy, ignore=_NOT_COPIED)
        (copy / "mutants").symlink_to(MUTANTS)
        if not passes_integration_tests(copy):
            raise SystemExit("the integration tests fail without a mutant")
        for number, mutant in enumerate(sample, 1):
            subprocess.run([_MUTMUT, "apply", mutant], cwd=copy, check=True)  # noqa: S603
            survived = passes_integration_tests(copy)
            print(f"{number}/{len(sample)} {mutant}: {'survived' if survived else 'noticed'}")
            shutil.copytree(ROOT / "eventbus", copy / "eventbus", dirs_exist_ok=True)
            if survived:
                yield mutant


def passes_integration_tests(project: Path) -> bool:
    """Whether the integration tests of the bus pass in a copy of the project."""
    options = ("-x", "-q", "--numprocesses", "2", "--dist", "loadfile", "-p", "no:cacheprovider")
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", *options, "tests/integration/eventbus"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": f"{project}{os.pathsep}{project / 'gen'}"},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return result.returncode == 0


def report(survivors: list[str]) -> list[str]:
    """Prints the survivors' diffs; returns the survivors that are not listed as equivalent."""
    equivalent, unnoticed = equivalent_changes(), []
    for mutant in survivors:
        diff = diff_of(mutant)
        if reason := equivalent.get(change_of(mutant, diff)):
            print(f"{mutant} is equivalent: {reason}")
        else:
            print(f"\n{diff}", end="")
            unnoticed.append(mutant)
    return unnoticed


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the tests against a sample of mutants.")
    parser.add_argument("--mutants", type=int, default=60, help="size of the sample")
    parser.add_argument("--seed", type=int, required=True, help="seed of the sample")
    parser.add_argument("--only", default="", help="prefix of the names of mutated modules")
    parser.add_argument("--integration", action="store_true", help="see the module's docstring")
    arguments = parser.parse_args()
    run_mutmut(_ANY)  # before it writes all mutants, and records which tests call which function
    called = called_functions()
    names = sorted(
        name
        for name in exit_codes()
        if name.startswith(arguments.only or ("eventbus." if arguments.integration else ""))
        and is_called_by_unit_tests(name, called) is not arguments.integration
    )
    sampling = random.Random(arguments.seed)  # noqa: S311
    sample = sorted(sampling.sample(names, min(arguments.mutants, len(names))))
    test = survivors_of_integration_tests if arguments.integration else survivors_of_unit_tests
    survived = report(list(test(sample)))
    print(f"\nseed {arguments.seed}: {len(survived)} of {len(sample)} mutants survived")
    raise SystemExit(1 if survived else 0)


if __name__ == "__main__":
    main()
