"""Keeps note of how fresh interview's copies are: which of payment's watermarks count."""

from eventbus.broker import BrokerUnavailable, PullConsumer
from interview_svc.storage.unit_of_work import Database


class WatermarkTracker:
    """A watermark counts once everything before it in the stream was handled."""

    def __init__(self, database: Database, source: PullConsumer) -> None:
        self._database, self._source = database, source

    async def update(self) -> None:
        """Asks the broker how far we are. While it is away, what is known stays."""
        try:
            lag = await self._source.lag()
        except BrokerUnavailable:
            return
        async with self._database.transaction() as uow:
            await uow.watermarks.cover(lag.ack_floor)
