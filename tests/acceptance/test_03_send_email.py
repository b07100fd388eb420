"""Handler notification.sendEmail: one mail brings the code to the customer's mailbox.

ListNotifications says that it is SENT.
"""

from devstack.demo.mails import access_code_in
from notification.v1 import notification_service_pb2
from tests.system.drivers.running_stack import PAID, RunningStack


async def test_proof_03_one_mail_brings_the_code_and_is_told_as_sent(
    shared_stack: RunningStack,
) -> None:
    """In the mailbox, once, with the order's own code; the list has it, caused by the event."""
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    await journey.sent(order_id)
    await shared_stack.wait_for_effects(order_id, PAID)
    (mail,) = shared_stack.mails(journey)
    assert access_code_in(mail) == (await shared_stack.code(order_id)).code
    (sent,) = (
        await shared_stack.clients.notifications.ListNotifications(
            notification_service_pb2.ListNotificationsRequest(order_id=order_id)
        )
    ).notifications
    assert sent.status == notification_service_pb2.NOTIFICATION_STATUS_SENT
    assert (sent.recipient_email, sent.attempts) == (journey.email, 1)
    assert (sent.event_type, sent.message_id) == ("payment.v1.PaymentCompleted", mail["Message-ID"])
    message = await shared_stack.stored(f"payment.v1.PaymentCompleted.{order_id}")
    assert sent.event_id == (message.headers or {})["ce-id"]
