"""Who may call what: the policies that stand in the contracts, enforced.

Health and reflection are open to everybody: probes carry no token, and the contracts are no secret.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf import descriptor_pool

from contract.v1 import options_pb2
from runtime.auth.authentication import Caller, Role, Verifier

PUBLIC_PREFIX = "/grpc."


class MethodWithoutPolicy(Exception):
    """A method's contract doesn't say who may call it."""


class CallNotAllowed(Exception):
    """The caller is known, and may not do this."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may call one method."""

    roles: frozenset[Role]
    services: frozenset[str]

    def check(self, caller: Caller, method: str) -> None:
        """Raises CallNotAllowed."""
        named = Role.SERVICE in caller.roles and caller.name in self.services
        if not named and not self.roles & caller.roles:
            raise CallNotAllowed(f"{caller.scope} may not call {method}")


def policies(services: Iterable[str]) -> dict[str, Policy]:
    """The policy of every method of some services, by its path; raises MethodWithoutPolicy."""
    found = {}
    for service in services:
        for method in descriptor_pool.Default().FindServiceByName(service).methods:
            if method.client_streaming or method.server_streaming:
                raise MethodWithoutPolicy(f"{method.full_name} streams, which nothing here guards")
            options = method.GetOptions()
            if not options.HasExtension(options_pb2.access):
                raise MethodWithoutPolicy(f"{method.full_name} doesn't say who may call it")
            access = options.Extensions[options_pb2.access]
            roles = (options_pb2.Role.Name(role).removeprefix("ROLE_") for role in access.roles)
            found[f"/{service}/{method.name}"] = Policy(
                frozenset(Role(role.lower()) for role in roles), frozenset(access.services)
            )
    return found


class Guard:
    """Lets callers in: first who they are, then whether they may."""

    def __init__(self, verifier: Verifier, services: Iterable[str]) -> None:
        """Raises MethodWithoutPolicy if a method of the services has none."""
        self._verifier = verifier
        self._policies = policies(services)

    def admit(self, method: str, metadata: Mapping[str, str]) -> Caller:
        """The caller, who may call the method.

        Raises TokenMissing, TokenInvalid, TokenExpired, CallNotAllowed.
        """
        caller = self._verifier.verify(metadata.get("authorization", ""))
        self._policies[method].check(caller, method)
        return caller
