"""`python -m eventbus apply`: which number of replicas counts."""

import sys
from pathlib import Path

import pytest

from eventbus import __main__ as command
from eventbus.jetstream import BrokerLogin
from eventbus.topology import Topology, load

FILE = Path(__file__).parents[3] / "deploy" / "nats" / "topology.toml"


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[Topology]:
    """What the command applies, instead of applying it."""
    topologies: list[Topology] = []

    async def apply(_login: BrokerLogin, topology: Topology) -> None:
        topologies.append(topology)

    monkeypatch.setattr(command, "_apply", apply)
    monkeypatch.setenv("NATS_URL", "nats://admin:secret@localhost")
    monkeypatch.delenv("NATS_REPLICAS", raising=False)
    return topologies


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["eventbus", "apply", str(FILE), *options])
    command.main()


def replicas(topology: Topology) -> set[int]:
    return {stream.replicas for stream in topology.streams}


def test_the_file_counts_by_default(
    monkeypatch: pytest.MonkeyPatch, applied: list[Topology]
) -> None:
    run(monkeypatch)
    assert applied == [load(FILE)]
    assert replicas(applied[0]) == {1}


def test_a_variable_and_an_option_count_instead_of_the_file(
    monkeypatch: pytest.MonkeyPatch, applied: list[Topology], capsys: pytest.CaptureFixture[str]
) -> None:
    """For every stream; the option before the variable, which is a known one."""
    monkeypatch.setenv("NATS_REPLICAS", "3")
    run(monkeypatch)
    run(monkeypatch, "--replicas", "5")
    assert [replicas(topology) for topology in applied] == [{3}, {5}]
    assert applied[0].consumers == load(FILE).consumers
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["0", "6", "three", "-1", "3.0", "³"])
def test_what_is_no_number_of_replicas_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    applied: list[Topology],
    capsys: pytest.CaptureFixture[str],
    text: str,
) -> None:
    monkeypatch.setenv("NATS_REPLICAS", text)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch)
    assert ended.value.code == 2
    assert f"NATS_REPLICAS: {text!r} is not a number from 1 to 5" in capsys.readouterr().err
    assert applied == []
