"""The wall around calls: every method against every kind of caller, taken from the contracts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import sandbox.v1.provider_service_pb2  # noqa: F401  the services whose methods are tried
from contract.v1 import options_pb2
from devstack.keys import AUDIENCE, IDENTITY, Keys
from runtime.auth.authentication import Role, TokenSigner
from tests.system.drivers.running_stack import RunningStack

SERVICES = {
    "payment": ["payment.v1.PaymentService", "payment.v1.AccessCodeService", "ops.v1.OpsService"],
    "interview": ["interview.v1.InterviewService", "ops.v1.OpsService"],
    "notification": ["notification.v1.NotificationService", "ops.v1.OpsService"],
    "provider": ["sandbox.v1.ProviderService"],
}
ISSUERS = ("payment", "interview", "notification", "provider")
ROLES = (Role.CUSTOMER, Role.STOREFRONT, Role.OPERATOR)
UNPROVEN = {
    "none": "TOKEN_MISSING",
    "not a token": "TOKEN_INVALID",
    "not a bearer": "TOKEN_MISSING",
    "expired": "TOKEN_EXPIRED",
    "foreign key": "TOKEN_INVALID",
    "wrong audience": "TOKEN_INVALID",
    "service as operator": "TOKEN_INVALID",
    "identity as service": "TOKEN_INVALID",
}


@dataclass(frozen=True)
class Method:
    """One method of one server, and whom its contract lets in."""

    server: str
    path: str
    roles: frozenset[str]
    services: frozenset[str]

    def admits(self, caller: str) -> bool:
        return caller in self.roles or caller.removeprefix("service ") in self.services


def methods() -> Iterator[Method]:
    for server, names in SERVICES.items():
        for name in names:
            for method in descriptor_pool.Default().FindServiceByName(name).methods:
                access = method.GetOptions().Extensions[options_pb2.access]
                roles = {options_pb2.Role.Name(role)[5:].lower() for role in access.roles}
                services = frozenset(access.services)
                yield Method(server, f"/{name}/{method.name}", frozenset(roles), services)


def authorizations(keys: Keys, foreign: Keys, server: str) -> Mapping[str, str]:
    """What each kind of caller says who it is."""
    identity, stranger = TokenSigner(keys.private(IDENTITY)), TokenSigner(foreign.private(IDENTITY))
    everybody = [*AUDIENCE, "provider"]
    elsewhere = [name for name in everybody if name != server]
    tokens = {
        "not a token": "eyJhbGciOiJub25lIn0.e30.",
        "expired": identity.issue("x", everybody, ROLES, timedelta(minutes=-5)),
        "foreign key": stranger.issue("x", everybody, ROLES),
        "wrong audience": identity.issue("x", elsewhere, ROLES),
        "service as operator": TokenSigner(keys.private("notification")).issue(
            "notification", everybody, [Role.OPERATOR]
        ),
        "identity as service": identity.issue("interview", everybody, [Role.SERVICE]),
        **{str(role): identity.issue("somebody", everybody, [role]) for role in ROLES},
        **{
            f"service {name}": TokenSigner(keys.private(name)).issue(
                name, everybody, [Role.SERVICE]
            )
            for name in ISSUERS
        },
    }
    bearers = {kind: f"Bearer {token}" for kind, token in tokens.items()}
    return {"none": "", "not a bearer": "Basic b3BlcmF0b3I6", **bearers}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    keys = Keys(Path(tmp_path_factory.mktemp("foreign")))
    keys.prepare()
    return keys


async def answer(channel: grpc.aio.Channel, path: str, authorization: str) -> tuple[str, str]:
    """Status and reason of a call with an empty request."""
    metadata = [("authorization", authorization)] if authorization else []
    call = channel.unary_unary(path)
    try:
        await call(b"", metadata=metadata, timeout=20)
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)
        info = error_details_pb2.ErrorInfo()
        for detail in status.details if status else ():
            detail.Unpack(info)
        return error.code().name, info.reason
    return "OK", ""


@pytest.mark.parametrize("server", SERVICES)
async def test_every_method_answers_every_kind_of_caller_as_its_contract_says(
    shared_stack: RunningStack, foreign: Keys, server: str
) -> None:
    refused = {"UNAUTHENTICATED", "PERMISSION_DENIED"}
    wrong = []
    callers = authorizations(shared_stack.stack.keys, foreign, server)
    async with grpc.aio.insecure_channel(shared_stack.stack.address(server)) as channel:
        for method in (one for one in methods() if one.server == server):
            for caller, authorization in callers.items():
                found = await answer(channel, method.path, authorization)
                if caller in UNPROVEN:
                    right = found == ("UNAUTHENTICATED", UNPROVEN[caller])
                elif method.admits(caller):
                    right = found[0] not in refused
                else:
                    right = found == ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED")
                if not right:
                    wrong.append((method.path, caller, found))
    assert wrong == []


async def test_health_and_reflection_are_open_to_everybody(shared_stack: RunningStack) -> None:
    for server in SERVICES:
        async with grpc.aio.insecure_channel(shared_stack.stack.address(server)) as channel:
            call = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert await call(b"", timeout=10)


async def test_no_service_but_interview_and_the_operator_reads_codes_of_payment() -> None:
    reading = [one for one in methods() if one.path.endswith("/GetAccessCode")]
    assert [(one.roles, one.services) for one in reading] == [({"operator"}, {"interview"})]


async def test_interview_may_call_nothing_of_payment_but_queries() -> None:
    allowed = {
        one.path.rpartition("/")[2]
        for one in methods()
        if one.server == "payment" and "interview" in one.services
    }
    assert allowed == {"ValidateAccessCode", "GetAccessCode"}
