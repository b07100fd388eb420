"""Authorization: who may call which method, as the contracts declare it."""

from collections.abc import Iterable

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from contract.v1 import options_pb2
from runtime.auth.authentication import Caller, Role, TokenMissing
from runtime.auth.authorization import (
    CallAuthorizer,
    CallNotAllowed,
    MethodWithoutPolicy,
    Policy,
    policies,
)

# Declared for these tests: a method for the storefront, customers and the service interview; one
# for nobody; one without a policy; and one that streams.
SERVICE = "authorization.test.Documented"
WITHOUT_POLICY = "authorization.test.WithoutPolicy"
STREAMING = "authorization.test.Streaming"
SHOP = f"/{SERVICE}/Shop"
NOBODY = f"/{SERVICE}/Nobody"


def caller(*roles: Role, name: str = "li.hua") -> Caller:
    return Caller(name, frozenset(roles))


@pytest.fixture(scope="module", autouse=True)
def _contract() -> None:
    file = descriptor_pb2.FileDescriptorProto(
        name="authorization/test.proto",
        package="authorization.test",
        syntax="proto3",
        dependency=["contract/v1/options.proto"],
    )
    file.message_type.add(name="Empty")

    def add_method(service: str, name: str, **arguments: bool) -> descriptor_pb2.MethodOptions:
        declared = next((one for one in file.service if one.name == service), None)
        declared = declared or file.service.add(name=service)
        empty = ".authorization.test.Empty"
        method = declared.method.add(name=name, input_type=empty, output_type=empty, **arguments)
        return method.options

    access = add_method("Documented", "Shop").Extensions[options_pb2.access]
    access.roles.extend([options_pb2.ROLE_STOREFRONT, options_pb2.ROLE_CUSTOMER])
    access.services.append("interview")
    add_method("Documented", "Nobody").Extensions[options_pb2.access].SetInParent()
    add_method("WithoutPolicy", "Forgotten")
    add_method("Streaming", "Watch", server_streaming=True).Extensions[
        options_pb2.access
    ].roles.append(options_pb2.ROLE_OPERATOR)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


class FakeVerifier:
    """Believes the header: the name of a role."""

    async def authenticate(self, authorization: str) -> Caller:
        if authorization == "":
            raise TokenMissing
        return caller(Role(authorization))


def authorizer(services: Iterable[str] = (SERVICE,)) -> CallAuthorizer:
    return CallAuthorizer(FakeVerifier(), services)  # type: ignore[arg-type]


def test_the_policies_are_those_of_the_contract() -> None:
    """By the path of the call."""
    assert policies([SERVICE]) == {
        SHOP: Policy(frozenset({Role.STOREFRONT, Role.CUSTOMER}), frozenset({"interview"})),
        NOBODY: Policy(frozenset(), frozenset()),
    }


@pytest.mark.parametrize("role", [Role.STOREFRONT, Role.CUSTOMER])
async def test_a_caller_with_one_of_the_roles_is_admitted(role: Role) -> None:
    assert await authorizer().authorize(SHOP, {"authorization": role.value}) == caller(role)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.SERVICE])
async def test_a_caller_without_any_of_the_roles_is_refused(role: Role) -> None:
    with pytest.raises(CallNotAllowed) as refused:
        await authorizer().authorize(SHOP, {"authorization": role.value})
    assert "li.hua" in str(refused.value)
    assert SHOP in str(refused.value)


@pytest.mark.parametrize("role", Role)
async def test_a_method_with_an_empty_policy_admits_no_caller(role: Role) -> None:
    with pytest.raises(CallNotAllowed):
        await authorizer().authorize(NOBODY, {"authorization": role.value})


async def test_a_call_without_a_token_is_refused() -> None:
    with pytest.raises(TokenMissing):
        await authorizer().authorize(SHOP, {})


@pytest.mark.parametrize(
    ("roles", "name", "admitted"),
    [
        ([Role.SERVICE], "interview", True),
        ([Role.SERVICE], "notification", False),
        ([Role.OPERATOR], "interview", False),  # a person who is called like a service
        ([Role.OPERATOR, Role.SERVICE], "interview", True),
    ],
)
def test_a_named_service_is_admitted_by_its_role_and_name_together(
    roles: list[Role], name: str, admitted: bool
) -> None:
    policy = Policy(frozenset(), frozenset({"interview"}))
    if admitted:
        policy.check(caller(*roles, name=name), SHOP)
    else:
        with pytest.raises(CallNotAllowed):
            policy.check(caller(*roles, name=name), SHOP)


@pytest.mark.parametrize(
    ("service", "method", "reason"),
    [
        (WITHOUT_POLICY, "Forgotten", "no access policy"),
        (STREAMING, "Watch", "streaming"),
    ],
)
def test_a_service_whose_calls_cannot_be_checked_does_not_start(
    service: str, method: str, reason: str
) -> None:
    with pytest.raises(MethodWithoutPolicy, match=reason) as refused:
        authorizer([SERVICE, service])
    assert f"{service}.{method}" in str(refused.value)
