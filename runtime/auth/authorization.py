"""Authorization: each method's access policy, as declared in its contract.

Health and reflection are public: probes carry no token, and the contracts are no secret.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf import descriptor_pool

from contract.v1 import options_pb2
from runtime.auth.authentication import Caller, Role, TokenVerifier

PUBLIC_PREFIX = "/grpc."


class MethodWithoutPolicy(Exception):
    """A method has no access policy in its contract."""


class CallNotAllowed(Exception):
    """The caller is authenticated, but may not call this method."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The access policy of one method."""

    roles: frozenset[Role]
    services: frozenset[str]

    def check(self, caller: Caller, method: str) -> None:
        """Raises CallNotAllowed."""
        is_named = Role.SERVICE in caller.roles and caller.name in self.services
        if not is_named and not self.roles & caller.roles:
            raise CallNotAllowed(f"{caller.scope} may not call {method}")


def policies(services: Iterable[str]) -> dict[str, Policy]:
    """The policy of every method of the services, by path; raises MethodWithoutPolicy."""
    by_path = {}
    for service in services:
        for method in descriptor_pool.Default().FindServiceByName(service).methods:
            if method.client_streaming or method.server_streaming:
                raise MethodWithoutPolicy(f"{method.full_name} is streaming: not supported")
            options = method.GetOptions()
            if not options.HasExtension(options_pb2.access):
                raise MethodWithoutPolicy(f"{method.full_name} has no access policy")
            access = options.Extensions[options_pb2.access]
            roles = (options_pb2.Role.Name(role).removeprefix("ROLE_") for role in access.roles)
            by_path[f"/{service}/{method.name}"] = Policy(
                frozenset(Role(role.lower()) for role in roles), frozenset(access.services)
            )
    return by_path


class CallAuthorizer:
    """Authenticates a call and checks the policy of its method."""

    def __init__(self, verifier: TokenVerifier, services: Iterable[str]) -> None:
        """Raises MethodWithoutPolicy if a method of the services has none."""
        self._verifier = verifier
        self._policies = policies(services)

    async def authorize(self, method: str, metadata: Mapping[str, str]) -> Caller:
        """The caller, which may call the method.

        Raises TokenMissing, TokenInvalid, TokenExpired, KeysUnavailable, CallNotAllowed.
        """
        caller = await self._verifier.authenticate(metadata.get("authorization", ""))
        self._policies[method].check(caller, method)
        return caller
