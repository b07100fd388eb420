"""The contract between the bus and a broker, as pytest suites for any binding.

A binding implements the protocols of `eventbus.broker`. To test one, implement `BrokerHarness`,
provide it as the fixture `broker`, and subclass the suites:

    import pytest
    from eventbus.conformance import (
        PublisherConformance, PullConsumerConformance, StreamReaderConformance,
    )

    @pytest.fixture
    async def broker():
        async with my_harness() as harness:
            yield harness

    class TestPublisher(PublisherConformance): ...
    class TestPullConsumer(PullConsumerConformance): ...
    class TestStreamReader(StreamReaderConformance): ...

The suites need pytest and pytest-asyncio in auto mode. The bus itself does not import this package.
"""

from eventbus.conformance.harness import BrokerHarness
from eventbus.conformance.publisher import PublisherConformance
from eventbus.conformance.pull_consumer import PullConsumerConformance
from eventbus.conformance.stream_reader import StreamReaderConformance

__all__ = [
    "BrokerHarness",
    "PublisherConformance",
    "PullConsumerConformance",
    "StreamReaderConformance",
]
