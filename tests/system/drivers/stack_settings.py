"""The settings of the stacks under test: free ports, and delays cut short."""

import re
from dataclasses import replace
from pathlib import Path

from devstack.commands import PROJECT
from devstack.components import COMPONENTS
from devstack.settings import Settings
from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from payment.v1 import payment_service_pb2
from tests.system.drivers.grpc_calls import retry
from tests.system.drivers.running_stack import RunningStack

# The secret that the provider's current one has replaced; notifications may be signed with both.
OLD_PROVIDER_SECRET = "the provider's old secret"
# Short delays; no limit on failed validations; a provider secret in rotation.
ENVIRONMENT = {
    "payment": {
        "PAYMENT_FAILED_VALIDATIONS_PER_STOREFRONT": "1000000",
        "PAYMENT_BUS_FIRST_RETRY_DELAY_SECONDS": "0.1",
        "PAYMENT_BUS_LEASE_SECONDS": "2",
        "PAYMENT_RECONCILIATION_INTERVAL_SECONDS": "0.5",
        "PAYMENT_RECONCILIATION_RETRY_SECONDS": "4",
        "PAYMENT_PROVIDER_TIMEOUT_SECONDS": "3",
        "PAYMENT_REFUND_REQUEST_REPEAT_SECONDS": "2",
        "PAYMENT_REFUND_OVERDUE_SECONDS": "6",
        "PAYMENT_PROVIDER_SECRET_OLD": OLD_PROVIDER_SECRET,
        "PAYMENT_EXPIRY_INTERVAL_SECONDS": "0.5",
        "PAYMENT_METRICS_LISTEN": "127.0.0.1:0",
    },
    "interview": {
        "INTERVIEW_FAILED_VALIDATIONS_PER_STOREFRONT": "1000000",
        "INTERVIEW_BUS_FIRST_RETRY_DELAY_SECONDS": "0.1",
        "INTERVIEW_BUS_LEASE_SECONDS": "2",
        "INTERVIEW_BUS_MAX_ATTEMPTS": "6",
        "INTERVIEW_VALIDATION_TIMEOUT_SECONDS": "3",
        # So long that no preview ends by its age during a test.
        "INTERVIEW_PREVIEW_CACHE_SECONDS": "600",
        # No scheduled repair: the tests create inconsistencies and repair them.
        "INTERVIEW_RECONCILIATION_INTERVAL_SECONDS": "86400",
        "INTERVIEW_METRICS_LISTEN": "127.0.0.1:0",
        # A line for each event, also if it was handled with others.
        "INTERVIEW_LOG_LEVEL": "DEBUG",
    },
    "notification": {
        "NOTIFICATION_BUS_FIRST_RETRY_DELAY_SECONDS": "0.1",
        "NOTIFICATION_MAIL_FIRST_RETRY_DELAY_SECONDS": "0.2",
        "NOTIFICATION_MAIL_MAX_RETRY_DELAY_SECONDS": "2",
        "NOTIFICATION_SMTP_TIMEOUT_SECONDS": "3",
        "NOTIFICATION_MAIL_CLAIM_SECONDS": "5",
        "NOTIFICATION_METRICS_LISTEN": "127.0.0.1:0",
    },
    "provider": {"PROVIDER_SLOW_SECONDS": "1.5", "PROVIDER_LATE_SECONDS": "1"},
}


_ACK_WAIT_SECONDS = 4


def settings(directory: Path) -> Settings:
    """Free ports, so that stacks run side by side, and the topology with a short ack_wait."""
    declared = (PROJECT / "deploy" / "nats" / "topology.toml").read_text("utf-8")
    topology = directory.with_suffix(".toml")
    shortened = re.sub(
        r"ack_wait_seconds = \d+", f"ack_wait_seconds = {_ACK_WAIT_SECONDS}", declared
    )
    topology.write_text(shortened, "utf-8")
    return replace(
        Settings.on_free_ports(), fsync=False, environment=ENVIRONMENT, topology=topology
    )


def suspend(stack: RunningStack) -> None:
    """Suspends the running components: an idle stack takes a tenth of a processor.

    Not PostgreSQL: if the test run is killed, it ends by SIGQUIT, which a suspended process does
    not receive. The others end by SIGKILL.
    """
    for name in COMPONENTS:
        if name != "postgres" and stack.devstack.is_running(name):
            stack.devstack.suspend(name)


def resume(stack: RunningStack) -> None:
    """Resumes every running component."""
    for name in COMPONENTS:
        if stack.devstack.is_running(name):
            stack.devstack.resume(name)


async def restore(stack: RunningStack, without: str = "") -> None:
    """Starts or resumes every component but one, and waits until they reach each other."""
    devstack, clients = stack.devstack, stack.clients
    resume(stack)
    for name in COMPONENTS:
        if name == without:
            if devstack.is_running(name):
                await devstack.terminate(name)
        elif not devstack.is_running(name):
            await devstack.start(name)
    check = interview_service_pb2.CheckAccessCodeRequest(access_code="0000-0000-0000-0000")
    page = notification_service_pb2.ListNotificationsRequest(page_size=1)

    async def payment_reaches_provider() -> bool:
        journey = stack.journey()
        payment = await journey.pay((await journey.order()).order_id, "sandbox_decline")
        return payment.status == payment_service_pb2.PAYMENT_STATUS_FAILED

    await retry(lambda: clients.notifications.ListNotifications(page), "notification serves")
    if without not in {"interview", "payment"}:
        await retry(lambda: clients.interviews.CheckAccessCode(check), "interview reaches payment")
    if without != "payment":
        await retry(payment_reaches_provider, "payment reaches the provider")
