"""Tracks which of payment's watermarks are covered, which is how fresh the local cache is."""

from eventbus.broker import BrokerUnavailable, PullConsumer
from interview_svc.storage.unit_of_work import Database


class WatermarkTracker:
    """Marks watermarks as covered once every event before them is handled."""

    def __init__(self, database: Database, source: PullConsumer) -> None:
        self._database, self._source = database, source

    async def update(self) -> None:
        """Covers watermarks up to the consumer's ack floor; changes nothing without the broker."""
        try:
            lag = await self._source.lag()
        except BrokerUnavailable:
            return
        async with self._database.transaction() as uow:
            await uow.watermarks.cover(lag.ack_floor)
