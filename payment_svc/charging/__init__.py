"""Paying, across transactions: the provider is never called inside one."""

from payment_svc.charging.closing import Closing, Expiry
from payment_svc.charging.notifications import NotificationIntake, NotificationWorker
from payment_svc.charging.paying import Charging, ProviderUnavailable, Reconciler

__all__ = [
    "Charging",
    "Closing",
    "Expiry",
    "NotificationIntake",
    "NotificationWorker",
    "ProviderUnavailable",
    "Reconciler",
]
