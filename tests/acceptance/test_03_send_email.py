"""Handler notification.sendEmail: one mail brings the access code to the customer's mailbox.

ListNotifications returns it as SENT.
"""

from devstack.demo.mails import access_code_in
from notification.v1 import notification_service_pb2
from tests.system.drivers.effects import PAID
from tests.system.drivers.running_stack import RunningStack, event_id


async def test_one_mail_with_the_access_code_is_sent(shared_stack: RunningStack) -> None:
    """The mailbox has it once; its notification is SENT and names the event that caused it."""
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    await journey.wait_for_sent_mail(order_id)
    await shared_stack.wait_for_effects(order_id, PAID)
    (mail,) = shared_stack.mails(journey)
    assert access_code_in(mail) == (await shared_stack.access_code(order_id)).code
    (sent,) = (
        await shared_stack.clients.notifications.ListNotifications(
            notification_service_pb2.ListNotificationsRequest(order_id=order_id)
        )
    ).notifications
    assert sent.status == notification_service_pb2.NOTIFICATION_STATUS_SENT
    assert (sent.recipient_email, sent.attempts) == (journey.email, 1)
    assert (sent.event_type, sent.message_id) == ("payment.v1.PaymentCompleted", mail["Message-ID"])
    message = await shared_stack.wait_for_message(f"payment.v1.PaymentCompleted.{order_id}")
    assert sent.event_id == event_id(message)
