"""Starts all workers of interview at the intervals of the settings."""

from interview_svc.config import InterviewSettings
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.workers import scheduled_reconciliation
from interview_svc.workers.fallback_monitor import FallbackMonitor
from interview_svc.workers.scheduled_reconciliation import ScheduledReconciliation
from interview_svc.workers.session_expiry import SessionExpiry
from interview_svc.workers.watermark_tracker import WatermarkTracker
from interview_svc.workflows.reconciliation import CodeReconciliation
from runtime.metrics.registry import METRICS_SECONDS
from runtime.service import Service

_WATERMARK_INTERVAL_SECONDS = 2.0


def add_workers(
    service: Service[UnitOfWork],
    config: InterviewSettings,
    tracker: WatermarkTracker,
    reconciliation: CodeReconciliation,
    fallback: FallbackMonitor,
) -> None:
    """Adds session expiry, the reconciliation with payment, the watermark, and its monitor."""
    expiry = SessionExpiry(service.database)
    service.every(config.expiry_interval_seconds, "session expiry", expiry.run_round)
    service.every(_WATERMARK_INTERVAL_SECONDS, "watermark", tracker.update)
    service.every(METRICS_SECONDS, "fallback", fallback.update)
    # Every replica does, whichever has the lease: a start after a kill does not wait for it.
    service.every(config.reconciliation_interval_seconds, "cache warm-up", reconciliation.warm_up)
    scheduled = ScheduledReconciliation(
        service.database,
        reconciliation,
        service.metrics,
        config.full_check_hour,
        repair=config.reconciliation_repair,
    )
    service.add_check(
        scheduled_reconciliation.NAME,
        config.reconciliation_interval_seconds,
        scheduled,
        on_stop=reconciliation.stop,
        # After a start many events are in flight: the first comparison is one interval later.
        run_immediately=False,
    )
