"""Starts all workers of interview at the intervals of the settings."""

from interview_svc.config import InterviewSettings
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.workers.scheduled_reconciliation import ScheduledReconciliation
from interview_svc.workers.session_expiry import SessionExpiry
from interview_svc.workers.watermark_tracker import WatermarkTracker
from interview_svc.workflows.reconciliation import CodeReconciliation
from runtime.service import Service

_WATERMARK_INTERVAL_SECONDS = 2.0


def add_workers(
    service: Service[UnitOfWork],
    config: InterviewSettings,
    tracker: WatermarkTracker,
    reconciliation: CodeReconciliation,
) -> None:
    """Adds the expiration of sessions, the reconciliation with payment and the watermark."""
    expiry = SessionExpiry(service.database)
    service.every(config.expiry_interval_seconds, "session expiry", expiry.run_round)
    service.every(_WATERMARK_INTERVAL_SECONDS, "watermark", tracker.update)
    service.add_worker(
        ScheduledReconciliation(
            reconciliation,
            service.metrics,
            config.reconciliation_interval_seconds,
            repair=config.reconciliation_repair,
        )
    )
