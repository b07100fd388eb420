"""A mail that an operator has sent again does not wait for the next poll."""

from email.headerregistry import Address
from typing import Any

from notification.v1 import notification_service_pb2
from notification_svc.domain.notifications import NotificationStatus
from notification_svc.grpc_server.dependencies import Dependencies
from notification_svc.grpc_server.notifications import NotificationServicer
from notification_svc.mail.composer import MailComposer
from notification_svc.storage.tables import request_replies
from runtime.auth.authentication import Caller, Role, set_caller
from runtime.database.idempotency import IdempotencyStore
from runtime.ids import new_id
from tests.integration.drivers.worker_runner import running
from tests.integration.notification_svc.mailing import IDS, FakeTransport, Mailing


async def test_a_resent_mail_wakes_the_sender_after_the_commit(mailing: Mailing) -> None:
    await mailing.queue("ord_1")
    async with running(mailing.sender(FakeTransport())):
        [sent] = await mailing.wait_for("ord_1", NotificationStatus.SENT)
    woken: list[str] = []
    servicer = NotificationServicer(
        Dependencies(
            database=mailing.database,
            idempotency=IdempotencyStore(request_replies, mailing.schema.engine),
            ids=IDS,
            composer=MailComposer(Address("", "interviews", "example.org")),
            mail_server_error=lambda: "",
            wake_mail_sender=lambda: woken.append("woken"),
        )
    )
    set_caller(Caller("mei", frozenset({Role.OPERATOR})))
    request = notification_service_pb2.ResendNotificationRequest(
        notification_id=sent.notification_id, request_id=new_id("req")
    )
    context: Any = None
    reply = await servicer.ResendNotification(request, context)
    assert woken == ["woken"]
    [resent, _] = await mailing.mails("ord_1")
    assert resent.notification_id == reply.notification.notification_id
