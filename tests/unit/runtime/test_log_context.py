"""The fields that all log entries of one task carry."""

import asyncio

import pytest

from runtime.log_context import add_log_fields, in_log_context, log_fields


def test_fields_end_with_their_block_also_those_added_inside() -> None:
    with in_log_context(trace_id="t1"):
        add_log_fields(caller="storefront")
        with in_log_context(trace_id="t2", order_id="o1"):
            assert log_fields() == {"trace_id": "t2", "caller": "storefront", "order_id": "o1"}
        assert log_fields() == {"trace_id": "t1", "caller": "storefront"}
    assert log_fields() == {}


def test_fields_end_with_a_block_that_fails() -> None:
    with pytest.raises(ValueError, match="no"), in_log_context(trace_id="t1"):
        raise ValueError("no")
    assert log_fields() == {}


async def test_tasks_have_fields_of_their_own() -> None:
    entered = asyncio.Barrier(2)

    async def task(name: str) -> dict[str, str]:
        with in_log_context(name=name):
            await entered.wait()
            return dict(log_fields())

    assert await asyncio.gather(task("a"), task("b")) == [{"name": "a"}, {"name": "b"}]
