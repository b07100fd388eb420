"""`opsctl mails`: lists mails by status, sends them again, and gives failed ones up."""

import pytest

from devstack.polling import wait_until
from notification.v1 import notification_service_pb2
from tests.system.drivers.fake_events import FakeOrder
from tests.system.drivers.opsctl import opsctl
from tests.system.drivers.running_stack import RunningStack

pb = notification_service_pb2


async def failed_mail(stack: RunningStack, email_tag: str = "+spam") -> tuple[str, str]:
    """An order whose mail the mail server refused for good: the order's and the mail's id."""
    order = FakeOrder(stack, email_tag)
    await order.publish(order.payment_completed(), handled_by="notification")
    request = pb.ListNotificationsRequest(
        order_id=order.order_id, status=pb.NOTIFICATION_STATUS_FAILED
    )

    async def find() -> str | None:
        found = (await stack.clients.notifications.ListNotifications(request)).notifications
        return found[0].notification_id if found else None

    return order.order_id, await wait_until(find, "a failed mail")


async def unresolved(stack: RunningStack) -> list[str]:
    """The ids that `mails list --unresolved` prints; its exit status says if there are any."""
    result = await opsctl(stack, "mails", "list", "--unresolved", "--json")
    ids = [mail["notification_id"] for mail in result.json["mails"]]
    assert result.status == (1 if ids else 0)
    return ids


async def test_a_failed_mail_is_reported_until_it_is_sent_again(
    shared_stack: RunningStack,
) -> None:
    order_id, failed = await failed_mail(shared_stack)
    status = await opsctl(shared_stack, "status")
    assert status.status == 1
    assert "! notification: mails that need an operator: " in status.out
    assert failed in await unresolved(shared_stack)
    result = await opsctl(
        shared_stack, "mails", "list", "--status", "failed", "--order", order_id, "--json"
    )
    assert result.status == 0
    [mail] = result.json["mails"]
    assert mail["notification_id"] == failed
    assert mail["last_error"].startswith("554 5.7.1 ")
    result = await opsctl(shared_stack, "mails", "resend", failed)
    assert result.status == 0
    assert f"sent again {failed} as ntf_" in result.out
    assert "1 of 1 mails done" in result.out
    assert failed not in await unresolved(shared_stack)


async def test_a_resend_that_is_suppressed_is_said_and_needs_an_operator(
    shared_stack: RunningStack,
) -> None:
    """The refused address is on the suppression list."""
    order_id, failed = await failed_mail(shared_stack, "+reject")
    result = await opsctl(shared_stack, "mails", "resend", failed)
    assert result.status == 1
    assert "is SUPPRESSED: the address is on the suppression list" in result.out
    assert "0 of 1 mails done" in result.out
    listed = await opsctl(shared_stack, "mails", "list", "--order", order_id, "--json")
    suppressed = listed.json["mails"][0]["notification_id"]
    assert suppressed in await unresolved(shared_stack)
    assert (await opsctl(shared_stack, "status")).status == 1
    assert (await opsctl(shared_stack, "mails", "dismiss", suppressed)).status == 0
    assert not {failed, suppressed} & set(await unresolved(shared_stack))


async def test_a_failed_mail_can_be_dismissed(shared_stack: RunningStack) -> None:
    """It stays FAILED and needs no operator any more; giving it up again changes nothing."""
    order_id, failed = await failed_mail(shared_stack)
    for _ in range(2):
        result = await opsctl(shared_stack, "mails", "dismiss", failed)
        assert (result.status, f"dismissed {failed}" in result.out) == (0, True)
    assert failed not in await unresolved(shared_stack)
    result = await opsctl(shared_stack, "mails", "list", "--order", order_id, "--json")
    [mail] = result.json["mails"]
    assert mail["status"] == "NOTIFICATION_STATUS_FAILED"
    assert mail["dismissed_at"]


async def test_all_failed_mails_are_sent_again(shared_stack: RunningStack) -> None:
    """Each once: those that fail again are new mails. Others may have suppressed addresses."""
    failed = {(await failed_mail(shared_stack))[1] for _ in range(2)}
    result = await opsctl(shared_stack, "mails", "resend", "--all")
    for notification_id in failed:
        assert f"sent again {notification_id} as ntf_" in result.out
    assert not failed & set(await unresolved(shared_stack))


async def test_addresses_are_shown_on_request_only(shared_stack: RunningStack) -> None:
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    sent = await journey.wait_for_sent_mail(order_id)
    arguments = "mails", "list", "--status", "sent", "--order", order_id
    hidden = await opsctl(shared_stack, *arguments)
    assert sent.notification_id in hidden.out
    assert journey.email not in hidden.out
    revealed = await opsctl(shared_stack, *arguments, "--reveal")
    assert journey.email in revealed.out
    none = await opsctl(shared_stack, "mails", "list", "--status", "queued", "--order", order_id)
    assert (none.status, none.out) == (0, "no mails\n")


async def test_a_mail_that_was_not_sent_yet_cannot_be_sent_again(
    shared_stack: RunningStack,
) -> None:
    order = FakeOrder(shared_stack, "+defer")
    await order.publish(order.payment_completed(), handled_by="notification")
    found = await opsctl(shared_stack, "mails", "list", "--order", order.order_id, "--json")
    [mail] = found.json["mails"]
    result = await opsctl(shared_stack, "mails", "resend", mail["notification_id"])
    assert result.status == 1
    assert "NOTIFICATION_NOT_ENDED" in result.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("resend",),
        ("dismiss",),
        ("resend", "--all", "ntf_01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("resend", "ntf_1"),
    ],
)
async def test_a_wrong_call_sends_nothing(
    shared_stack: RunningStack, arguments: tuple[str, ...]
) -> None:
    assert (await opsctl(shared_stack, "mails", *arguments)).status == 2
