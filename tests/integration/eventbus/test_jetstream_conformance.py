"""JetStream keeps the promises that the bus expects of a broker."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from eventbus.broker import Publisher, PullConsumer, StreamReader
from eventbus.conformance import (
    PublisherConformance,
    PullConsumerConformance,
    StreamReaderConformance,
)
from tests.integration.drivers.bus import Bus


@dataclass
class JetStreamHarness:
    bus: Bus
    refused_size: int = 1_100_000  # more than nats-server's default max_payload

    @property
    def domain(self) -> str:
        return self.bus.domain

    @property
    def publisher(self) -> Publisher:
        return self.bus.broker

    async def create_consumer(
        self, durable: str, ack_wait_seconds: int = 30, filter_subjects: Sequence[str] = ()
    ) -> None:
        await self.bus.declare_consumer(durable, ack_wait_seconds, filter_subjects)

    def pull_consumer(self, durable: str) -> PullConsumer:
        return self.bus.pull_consumer(durable)

    def stream_reader(self) -> StreamReader:
        return self.bus.broker.stream_reader(self.bus.stream)

    async def delete_message(self, sequence: int) -> None:
        await (await self.bus.administrator()).jetstream().delete_msg(self.bus.stream, sequence)

    async def stop_broker(self) -> None:
        await self.bus.stack.kill("nats")

    async def start_broker(self) -> None:
        await self.bus.stack.start("nats")


@pytest.fixture
def broker(bus: Bus) -> JetStreamHarness:
    return JetStreamHarness(bus)


class TestPublisher(PublisherConformance):
    pass


class TestPullConsumer(PullConsumerConformance):
    pass


class TestStreamReader(StreamReaderConformance):
    pass
