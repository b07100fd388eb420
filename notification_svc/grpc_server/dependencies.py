"""The dependencies of notification's servicers."""

from collections.abc import Callable
from dataclasses import dataclass

from notification_svc.mail.composer import MailComposer
from notification_svc.storage.unit_of_work import Database, UnitOfWork
from notification_svc.use_cases.ports import IdFactory
from runtime.database.idempotency import IdempotencyStore
from runtime.rpc.servicer import Servicer


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The dependencies of the servicers."""

    database: Database
    idempotency: IdempotencyStore
    ids: IdFactory
    composer: MailComposer
    # Why the mail server accepts no mail now; "" if it does.
    mail_server_error: Callable[[], str]
    wake_mail_sender: Callable[[], None]


class NotificationServicerBase(Servicer[UnitOfWork]):
    """The base of notification's servicers."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies.database, dependencies.idempotency)
        self._dependencies = dependencies
