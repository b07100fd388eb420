"""Completes the Jobs of a namespace, one after the other, as a cluster does whose Jobs succeed."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from tests.deploy.kubernetes.api_server import ApiServer

_POLL_SECONDS = 0.1
_MERGE_PATCH = "application/merge-patch+json"
Seen = TypeVar("Seen")


class JobController(Generic[Seen]):
    """Runs in a thread; `seen` is what `look` returned for each Job before it was completed."""

    def __init__(self, server: ApiServer, namespace: str, look: Callable[[str], Seen]) -> None:
        """`look` gets the name of a Job."""
        self._server, self._look = server, look
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self.seen: list[Seen] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            for job in self._server.request("GET", self._jobs)["items"]:
                if not job.get("status", {}).get("completionTime"):
                    name = job["metadata"]["name"]
                    self.seen.append(self._look(name))
                    self._complete(name)

    def _complete(self, name: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        conditions: list[dict[str, Any]] = [
            {"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now}
            for kind in ("SuccessCriteriaMet", "Complete")
        ]
        status = {
            "startTime": now,
            "completionTime": now,
            "succeeded": 1,
            "conditions": conditions,
            "uncountedTerminatedPods": {},
        }
        path = f"{self._jobs}/{name}/status"
        self._server.request("PATCH", path, {"status": status}, _MERGE_PATCH)
