"""A service's name, and every name that is derived from it."""

from dataclasses import dataclass

_PACKAGE_SUFFIX = "_svc"
# As the access policies of the contracts name them; `provider` delivers webhooks.
NAMES_OF_SERVICES = frozenset({"payment", "interview", "notification", "provider"})


@dataclass(frozen=True, slots=True)
class ServiceName:
    """One service; `value` is its domain, such as `payment`."""

    value: str

    @classmethod
    def of_package(cls, package: str) -> "ServiceName":
        """The service of a Python package, such as `payment_svc`."""
        return cls(package.removesuffix(_PACKAGE_SUFFIX))

    def __str__(self) -> str:
        """The name used in tokens (audience), broker users and logs."""
        return self.value

    @property
    def package(self) -> str:
        """Its Python package."""
        return f"{self.value}{_PACKAGE_SUFFIX}"

    @property
    def schema(self) -> str:
        """Its PostgreSQL schema."""
        return self.value

    @property
    def runtime_role(self) -> str:
        """The PostgreSQL role that it runs as."""
        return f"{self.value}_runtime"

    @property
    def stream(self) -> str:
        """The stream of its own events."""
        return self.value.upper()

    @property
    def settings_prefix(self) -> str:
        """The prefix of its environment variables."""
        return f"{self.value.upper()}_"
