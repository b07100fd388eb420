"""The metrics that a service exports to Prometheus."""

import re
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from devstack.polling import wait_until
from devstack.servers.postgres import SERVICES
from interview_svc.domain.drifts import DriftKind
from runtime.metrics.registry import PREFIX
from tests.system.drivers.interviews import started_interview
from tests.system.drivers.metrics import scrape_metrics, scrape_text
from tests.system.drivers.running_stack import RunningStack


def _calls(method: str) -> str:
    return f'{PREFIX}_calls_total{{code="OK",method="{method}",reason=""}}'


_OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
_PROVIDER_SECONDS = f"{PREFIX}_payment_provider_request_duration_seconds"
# What a journey from the order to the start increments.
_COUNTED = {
    "payment": [
        _calls("payment.v1.PaymentService/CreateOrder"),
        f"{PREFIX}_relay_published_events_total",
        f'{PREFIX}_consumer_handled_total{{consumer="payment",stream="INTERVIEW"}}',
        f'{_PROVIDER_SECONDS}_count{{code="OK",method="CreateCharge"}}',
    ],
    "interview": [
        _calls("interview.v1.InterviewService/StartSession"),
        f"{PREFIX}_relay_published_events_total",
        f'{PREFIX}_consumer_handled_total{{consumer="interview",stream="PAYMENT"}}',
        f'{PREFIX}_code_validations_total{{result="VALID",source="PAYMENT"}}',
    ],
    "notification": [
        f'{PREFIX}_consumer_handled_total{{consumer="notification",stream="PAYMENT"}}',
        f'{PREFIX}_mail_attempts_total{{outcome="ACCEPTED"}}',
    ],
}
_DEAD_LETTERS = 'mockinterview_consumer_dead_letters{consumer="interview",stream="PAYMENT"}'


async def test_outbox_and_consumer_are_exported(shared_stack: RunningStack) -> None:
    """Their ages and counts, without a token, at the address of the settings."""
    await shared_stack.prepare_session()

    async def scrape() -> Mapping[str, float] | None:
        metrics = await scrape_metrics(shared_stack, "interview")
        return metrics if _DEAD_LETTERS in metrics else None

    metrics = await wait_until(scrape, "the consumer's metrics")
    assert metrics[_DEAD_LETTERS] >= 0
    assert metrics["mockinterview_outbox_unpublished_events"] >= 0
    assert metrics["mockinterview_outbox_oldest_event_age_seconds"] >= 0
    assert (
        metrics['mockinterview_consumer_pending_messages{consumer="interview",stream="PAYMENT"}']
        >= 0
    )
    assert (
        metrics[
            'mockinterview_consumer_oldest_message_age_seconds{consumer="interview",stream="PAYMENT"}'
        ]
        >= 0
    )


async def test_findings_of_checks_are_exported_before_the_first_check(
    shared_stack: RunningStack,
) -> None:
    """As zero, so that an alert can compare the first finding with it."""
    metrics = await scrape_metrics(shared_stack, "interview")
    for kind in DriftKind:
        assert metrics[f'mockinterview_reconciliation_drifts{{kind="{kind}"}}'] == 0
    for kind in ("lost", "unhandled"):
        assert f'mockinterview_bus_missing_events{{kind="{kind}"}}' in metrics


async def _families(stack: RunningStack, service: str) -> list[Metric]:
    text = await scrape_text(stack, service)
    return [f for f in text_string_to_metric_families(text) if f.name.startswith(PREFIX)]


async def test_every_metric_is_documented_and_every_documented_one_exists(
    shared_stack: RunningStack,
) -> None:
    """In the table of docs/operations.md, with its labels."""
    table = _OPERATIONS.read_text("utf-8").partition("| Metric |")[2].partition("\n\n")[0]
    documented = {
        row[1]: set(re.findall(r"\w+", row[2]))
        for row in re.finditer(r"^\| `(\w+)` \|([^|]*)\|", table, re.MULTILINE)
    }
    exported: dict[str, set[str]] = {}
    await shared_stack.prepare_session()
    for service in SERVICES:
        for family in await _families(shared_stack, service):
            suffix = "_total" if family.type == "counter" else ""
            labels = {name for sample in family.samples for name in sample.labels} - {"le"}
            exported.setdefault(family.name + suffix, set()).update(labels)
    assert exported.keys() == documented.keys()
    for name, labels in exported.items():
        assert labels <= documented[name], name


async def test_every_metric_explains_itself(shared_stack: RunningStack) -> None:
    """In a sentence of its own, without the words of its neighbour."""
    for service in SERVICES:
        for family in await _families(shared_stack, service):
            assert re.fullmatch(r"[A-Z0-9].{10,}\.", family.documentation), family.name
            assert "of them" not in family.documentation, family.name


async def test_a_journey_counts_in_every_service(shared_stack: RunningStack) -> None:
    before = {service: await scrape_metrics(shared_stack, service) for service in SERVICES}
    await started_interview(shared_stack)

    async def grown() -> bool:
        after = {service: await scrape_metrics(shared_stack, service) for service in SERVICES}
        return all(
            after[service].get(name, 0) > before[service].get(name, 0)
            for service, names in _COUNTED.items()
            for name in names
        )

    await wait_until(grown, "the counters of a journey")


async def test_process_and_interpreter_are_exported(shared_stack: RunningStack) -> None:
    for service in SERVICES:
        metrics = await scrape_metrics(shared_stack, service)
        assert metrics["process_resident_memory_bytes"] > 0
        assert metrics["process_open_fds"] > 0
        assert metrics[f"{PREFIX}_database_connections_in_use"] >= 0
        assert metrics[f"{PREFIX}_database_connections_max"] > 0
        assert metrics[f"{PREFIX}_broker_connected"] == 1


async def test_probes_beside_the_metrics(shared_stack: RunningStack) -> None:
    for service in SERVICES:
        for path, body in (("/livez", "OK"), ("/readyz", "OK")):
            assert (await scrape_text(shared_stack, service, path)).strip() == body
