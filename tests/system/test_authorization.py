"""Authorization: every method of the contracts is called by every kind of caller."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool

import sandbox.v1.provider_service_pb2  # noqa: F401  registers the provider's methods
from clients import reason_of
from contract.v1 import options_pb2
from devstack.keys import AUDIENCE, IDENTITY, Keys
from runtime.auth.authentication import Role
from runtime.auth.signing import TokenSigner
from tests.system.drivers.running_stack import RunningStack

SERVICES = {
    "payment": ["payment.v1.PaymentService", "payment.v1.AccessCodeService", "ops.v1.OpsService"],
    "interview": ["interview.v1.InterviewService", "ops.v1.OpsService"],
    "notification": ["notification.v1.NotificationService", "ops.v1.OpsService"],
    "provider": ["sandbox.v1.ProviderService"],
}
ISSUERS = ("payment", "interview", "notification", "provider")
ROLES = (Role.CUSTOMER, Role.STOREFRONT, Role.OPERATOR)
# Callers without a valid identity, and the reason of the refusal.
UNAUTHENTICATED = {
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
    """A method of a server, with the roles and services that its contract admits."""

    server: str
    path: str
    roles: frozenset[str]
    services: frozenset[str]

    def admits(self, caller: str) -> bool:
        return caller in self.roles or caller.removeprefix("service ") in self.services


def methods() -> Iterator[Method]:
    """All methods of all servers."""
    for server, names in SERVICES.items():
        for name in names:
            for method in descriptor_pool.Default().FindServiceByName(name).methods:
                access = method.GetOptions().Extensions[options_pb2.access]
                roles = {options_pb2.Role.Name(role)[5:].lower() for role in access.roles}
                services = frozenset(access.services)
                yield Method(server, f"/{name}/{method.name}", frozenset(roles), services)


def authorizations(keys: Keys, foreign: Keys, server: str) -> Mapping[str, str]:
    """The authorization header of each kind of caller, for calls to one server."""
    identity, foreign_identity = (
        TokenSigner(keys.private(IDENTITY)),
        TokenSigner(foreign.private(IDENTITY)),
    )
    all_servers = [*AUDIENCE, "provider"]
    other_servers = [name for name in all_servers if name != server]
    tokens = {
        "not a token": "eyJhbGciOiJub25lIn0.e30.",
        "expired": identity.issue("x", all_servers, ROLES, timedelta(minutes=-5)),
        "foreign key": foreign_identity.issue("x", all_servers, ROLES),
        "wrong audience": identity.issue("x", other_servers, ROLES),
        "service as operator": TokenSigner(keys.private("notification")).issue(
            "notification", all_servers, [Role.OPERATOR]
        ),
        "identity as service": identity.issue("interview", all_servers, [Role.SERVICE]),
        **{str(role): identity.issue("somebody", all_servers, [role]) for role in ROLES},
        **{
            f"service {name}": TokenSigner(keys.private(name)).issue(
                name, all_servers, [Role.SERVICE]
            )
            for name in ISSUERS
        },
    }
    headers = {caller: f"Bearer {token}" for caller, token in tokens.items()}
    return {"none": "", "not a bearer": "Basic b3BlcmF0b3I6", **headers}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys that the stack does not trust."""
    keys = Keys(Path(tmp_path_factory.mktemp("foreign")))
    keys.prepare()
    return keys


async def call(channel: grpc.aio.Channel, path: str, authorization: str) -> tuple[str, str]:
    """Calls a method with an empty request; status code and reason of the result."""
    metadata = [("authorization", authorization)] if authorization else []
    try:
        await channel.unary_unary(path)(b"", metadata=metadata, timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code().name, reason_of(error)
    return "OK", ""


@pytest.mark.parametrize("server", SERVICES)
async def test_every_method_admits_exactly_the_callers_of_its_contract(
    shared_stack: RunningStack, foreign: Keys, server: str
) -> None:
    wrong = []
    callers = authorizations(shared_stack.devstack.keys, foreign, server)
    async with grpc.aio.insecure_channel(shared_stack.devstack.address(server)) as channel:
        for method in (method for method in methods() if method.server == server):
            for caller, authorization in callers.items():
                code, reason = await call(channel, method.path, authorization)
                if caller in UNAUTHENTICATED:
                    right = (code, reason) == ("UNAUTHENTICATED", UNAUTHENTICATED[caller])
                elif method.admits(caller):
                    right = code not in {"UNAUTHENTICATED", "PERMISSION_DENIED"}
                else:
                    right = (code, reason) == ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED")
                if not right:
                    wrong.append((method.path, caller, code, reason))
    assert wrong == []


async def test_health_checks_need_no_token(shared_stack: RunningStack) -> None:
    for server in SERVICES:
        async with grpc.aio.insecure_channel(shared_stack.devstack.address(server)) as channel:
            assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)


def test_operators_and_interview_alone_read_access_codes() -> None:
    (method,) = [method for method in methods() if method.path.endswith("/GetAccessCode")]
    assert (method.roles, method.services) == ({"operator"}, {"interview"})
