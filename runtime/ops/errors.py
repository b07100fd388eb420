"""The error table of ops.v1.OpsService."""

import grpc

from eventbus.broker import BrokerUnavailable
from eventbus.dead_letters.store import DeadLetterClosed, DeadLetterNotFound, ReplayFailed
from eventbus.requeue import RepublishTooOld
from runtime.database.idempotency import RequestIdReused
from runtime.rpc.errors import REQUEST_ID_REUSED, ErrorSpec, ErrorTable, precondition, retry_after

ERRORS: ErrorTable = {
    RequestIdReused: REQUEST_ID_REUSED,
    DeadLetterNotFound: ErrorSpec(grpc.StatusCode.NOT_FOUND, "DEAD_LETTER_NOT_FOUND", "死信不存在"),
    DeadLetterClosed: ErrorSpec(
        grpc.StatusCode.FAILED_PRECONDITION,
        "DEAD_LETTER_CLOSED",
        "死信已处理",
        precondition("DEAD_LETTER"),
    ),
    ReplayFailed: ErrorSpec(
        grpc.StatusCode.FAILED_PRECONDITION,
        "REPLAY_FAILED",
        "重放失败",
        precondition("DEAD_LETTER"),
    ),
    RepublishTooOld: ErrorSpec(
        grpc.StatusCode.OUT_OF_RANGE, "REPUBLISH_TOO_OLD", "该时间之前发布的事件已不再保留"
    ),
    BrokerUnavailable: ErrorSpec(
        grpc.StatusCode.UNAVAILABLE,
        "BROKER_UNAVAILABLE",
        "消息代理暂时不可用,请稍后再试",
        retry_after(2.0),
        "the message broker is unavailable",
    ),
}
