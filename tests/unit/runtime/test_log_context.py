"""The fields that all log entries of one task carry."""

import asyncio
from contextvars import copy_context

from runtime.log_context import add_log_fields, log_fields


def test_fields_are_added_and_replaced_to_the_end_of_their_context() -> None:
    def fields() -> dict[str, str]:
        add_log_fields(trace_id="t1", caller="")
        add_log_fields(caller="storefront")
        return dict(log_fields())

    assert copy_context().run(fields) == {"trace_id": "t1", "caller": "storefront"}
    assert log_fields() == {}


async def test_tasks_have_fields_of_their_own() -> None:
    entered = asyncio.Barrier(2)

    async def task(name: str) -> dict[str, str]:
        add_log_fields(name=name)
        await entered.wait()
        return dict(log_fields())

    assert await asyncio.gather(task("a"), task("b")) == [{"name": "a"}, {"name": "b"}]
