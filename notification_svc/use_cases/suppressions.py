"""The addresses that get no mail: put on the list, and taken off it."""

from dataclasses import dataclass
from datetime import datetime

from notification_svc.domain.suppressions import Suppression, normalised
from notification_svc.use_cases.ports import NewIdentity, UnitOfWork


@dataclass(frozen=True, slots=True)
class SuppressAddress:
    """An operator stops all mail to an address."""

    email: str
    reason: str


@dataclass(frozen=True, slots=True)
class RestoreAddress:
    """An operator lets an address have mail again."""

    email: str


async def suppress_address(
    command: SuppressAddress, uow: UnitOfWork, *, identity: NewIdentity, now: datetime
) -> Suppression:
    """The address's entry; an older one stays as it is."""
    entry = Suppression.of(identity.suppression(), command.email, command.reason, now)
    return await uow.suppressions.add(entry)


async def restore_address(command: RestoreAddress, uow: UnitOfWork) -> None:
    """Mails that were SUPPRESSED stay so. Raises SuppressionNotFound."""
    await uow.suppressions.remove(normalised(command.email))
