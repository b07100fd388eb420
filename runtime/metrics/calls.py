"""The calls of a gRPC server: how many, with which outcome, and how long they take."""

from typing import Any

from runtime.metrics.registry import Metrics

# Seconds. From a look-up in memory to the limit of a call.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class CallMetrics:
    """The calls of all methods. Health checks and reflection are not counted."""

    def __init__(self, metrics: Metrics) -> None:
        self._calls = metrics.counter(
            "calls",
            "Calls that ended, by method, status code and reason of the error;"
            " without those that gRPC's core refused because too many waited.",
            "method",
            "code",
            "reason",
        )
        self._seconds = metrics.histogram(
            "call_duration_seconds",
            "How long calls took, from when they were accepted until the reply or error.",
            _BUCKETS,
            "method",
        )
        self._in_progress = metrics.gauge("calls_in_progress", "Calls that are being handled.")

    def of_method(self, path: str) -> "MethodMetrics":
        """The calls of one method; its path is `/package.Service/Method`."""
        return MethodMetrics(path.lstrip("/"), self._calls, self._seconds, self._in_progress)


class MethodMetrics:
    """The calls of one method. What is looked up by labels is looked up once."""

    def __init__(self, method: str, calls: Any, seconds: Any, in_progress: Any) -> None:
        self._method, self._calls = method, calls
        self._seconds, self._in_progress = seconds.labels(method), in_progress
        self._by_outcome = {("OK", ""): calls.labels(method, "OK", "")}

    def begin(self) -> None:
        """A call is accepted."""
        self._in_progress.inc()

    def end(self, code: str, reason: str, seconds: float) -> None:
        """The call ended; `reason` is the error's, "" for none."""
        self._in_progress.dec()
        self._seconds.observe(seconds)
        outcome = code, reason
        if (counter := self._by_outcome.get(outcome)) is None:
            counter = self._by_outcome[outcome] = self._calls.labels(self._method, *outcome)
        counter.inc()
