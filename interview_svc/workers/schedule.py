"""Starts all workers of interview at the intervals of the settings."""

from interview_svc.config import InterviewSettings
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.workers.fallback_monitor import FallbackMonitor
from interview_svc.workers.scheduled_reconciliation import ScheduledReconciliation
from interview_svc.workers.session_expiry import SessionExpiry
from interview_svc.workers.watermark_tracker import WatermarkTracker
from interview_svc.workflows.reconciliation import CodeReconciliation
from runtime.ops.metrics import METRICS_SECONDS
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
    service.add_worker(
        ScheduledReconciliation(
            reconciliation,
            service.metrics,
            config.reconciliation_interval_seconds,
            repair=config.reconciliation_repair,
        )
    )
