"""Suppressed addresses: added and removed by operators."""

from dataclasses import dataclass
from datetime import datetime

from notification_svc.domain.suppressions import Suppression, normalised
from notification_svc.use_cases.ports import IdFactory, UnitOfWork


@dataclass(frozen=True, slots=True)
class SuppressAddress:
    """An operator stops all mail to an address."""

    email: str
    reason: str


@dataclass(frozen=True, slots=True)
class RestoreAddress:
    """An operator allows mail to an address again."""

    email: str


async def suppress_address(
    command: SuppressAddress, uow: UnitOfWork, *, ids: IdFactory, now: datetime
) -> Suppression:
    """Suppresses an address; an existing entry stays unchanged."""
    entry = Suppression.of(ids.suppression(), command.email, command.reason, now)
    return await uow.suppressions.add(entry)


async def restore_address(command: RestoreAddress, uow: UnitOfWork) -> None:
    """Removes the entry; mails that were SUPPRESSED stay so. Raises SuppressionNotFound."""
    await uow.suppressions.remove(normalised(command.email))
