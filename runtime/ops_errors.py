"""The errors of ops.v1.OpsService, and what callers are told."""

import grpc

from eventbus.broker import BrokerUnavailable
from eventbus.dead_letters import DeadLetterClosed, DeadLetterNotFound, ReplayFailed
from eventbus.republishing import RepublishTooOld
from runtime.errors import REQUEST_ID_REUSED, Answer, ErrorTable, precondition, retry_after
from runtime.idempotency import RequestIdReused


class AnnouncesNothing(Exception):
    """The service announces no events."""

    def __init__(self, service: str) -> None:
        super().__init__("the service announces no events: there is nothing to publish again")
        self.subject = service


ERRORS: ErrorTable = {
    RequestIdReused: REQUEST_ID_REUSED,
    DeadLetterNotFound: Answer(grpc.StatusCode.NOT_FOUND, "DEAD_LETTER_NOT_FOUND", "死信不存在"),
    DeadLetterClosed: Answer(
        grpc.StatusCode.FAILED_PRECONDITION,
        "DEAD_LETTER_CLOSED",
        "死信已处理",
        precondition("DEAD_LETTER"),
    ),
    ReplayFailed: Answer(
        grpc.StatusCode.FAILED_PRECONDITION,
        "REPLAY_FAILED",
        "重放失败",
        precondition("DEAD_LETTER"),
    ),
    AnnouncesNothing: Answer(
        grpc.StatusCode.FAILED_PRECONDITION,
        "SERVICE_ANNOUNCES_NOTHING",
        "本服务不发布事件",
        precondition("SERVICE"),
    ),
    RepublishTooOld: Answer(
        grpc.StatusCode.OUT_OF_RANGE, "REPUBLISH_TOO_OLD", "该时间之前发布的事件已不再保留"
    ),
    BrokerUnavailable: Answer(
        grpc.StatusCode.UNAVAILABLE,
        "BROKER_UNAVAILABLE",
        "消息代理暂时不可用,请稍后再试",
        retry_after(2.0),
        "the message broker is unavailable",
    ),
}
