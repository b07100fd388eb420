"""What notification listens to."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus import Received, Subscriptions
from notification_svc.messages import from_payment_completed
from notification_svc.storage.unit_of_work import UnitOfWork
from notification_svc.use_cases import NewIdentity, queue_notifications
from payment.v1 import events_pb2
from runtime.contracts import decoder


class PaymentCompletedHandler:
    """PaymentCompleted: the access code is mailed to its recipient."""

    def __init__(self, identity: NewIdentity) -> None:
        self._identity = identity

    async def __call__(self, connection: AsyncConnection, batch: Sequence[Received]) -> None:
        """Queues a mail per event."""
        commands = [from_payment_completed(one.event, one.payload) for one in batch]
        uow = UnitOfWork(connection)
        now = await uow.clock()
        await queue_notifications(commands, uow, identity=self._identity, now=now)


def subscriptions(identity: NewIdentity) -> Subscriptions:
    """Notification's handlers by event type."""
    bound = Subscriptions()
    bound.subscribe(
        "payment.v1.PaymentCompleted",
        decoder(events_pb2.PaymentCompleted),
        PaymentCompletedHandler(identity),
    )
    return bound
