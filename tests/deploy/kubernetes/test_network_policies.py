"""The network policies let through what the platform needs, and nothing else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.deploy.kubernetes.chart import NAMESPACE, RELEASE, Manifest, of_kind, render

_OPTIONS = [
    *("--set", "networkPolicy.database.peers[0].ipBlock.cidr=10.0.0.1/32"),
    *("--set", "networkPolicy.nats.peers[0].ipBlock.cidr=10.0.0.2/32"),
    *("--set", "networkPolicy.provider.peers[0].ipBlock.cidr=10.0.0.3/32"),
    *("--set", "networkPolicy.smtp.peers[0].ipBlock.cidr=10.0.0.4/32"),
    *("--set", "networkPolicy.storefronts.peers[0].podSelector.matchLabels.app=shop"),
]


@dataclass(frozen=True)
class Place:
    """A pod with a namespace and labels, or an address outside the cluster."""

    namespace: str = ""
    labels: frozenset[tuple[str, str]] = frozenset()
    address: str = ""


def _pod(component: str) -> Place:
    labels = {"name": "mock-interview", "instance": RELEASE, "component": component}
    named = {f"app.kubernetes.io/{name}": value for name, value in labels.items()}
    return Place(NAMESPACE, frozenset(named.items()))


_PLACES = {
    **{name: _pod(name) for name in ("payment", "interview", "notification", "jobs")},
    "database": Place(address="10.0.0.1/32"),
    "nats": Place(address="10.0.0.2/32"),
    "provider": Place(address="10.0.0.3/32"),
    "smtp": Place(address="10.0.0.4/32"),
    "internet": Place(address="198.51.100.1/32"),
    "dns": Place("kube-system", frozenset({("k8s-app", "kube-dns")})),
    "storefront": Place(NAMESPACE, frozenset({("app", "shop")})),
    "prometheus": Place("monitoring"),
    "stranger": Place("elsewhere"),
}
_SERVICES = ("payment", "interview", "notification")
_PORTS = (50051, 50055, 9464, 53, 5432, 4222, 443, 587)
_EXPECTED = {
    *((pod, "dns", 53) for pod in (*_SERVICES, "jobs")),
    *((pod, "database", 5432) for pod in (*_SERVICES, "jobs")),
    *((pod, "nats", 4222) for pod in (*_SERVICES, "jobs")),
    *(("storefront", service, 50051) for service in _SERVICES),
    *(("prometheus", service, 9464) for service in _SERVICES),
    ("interview", "payment", 50055),
    ("payment", "provider", 443),
    ("notification", "smtp", 587),
}


def test_only_the_ways_of_the_platform_are_open() -> None:
    policies = of_kind(render(options=_OPTIONS), "NetworkPolicy")

    open_ways = {
        (source, target, port)
        for source in _PLACES
        for target in _PLACES
        for port in _PORTS
        # Between two places outside, the policies decide nothing.
        if source != target and {source, target} & {*_SERVICES, "jobs"}
        if _is_open(policies, _PLACES[source], _PLACES[target], port)
    }

    assert open_ways == _EXPECTED


def test_without_the_default_denial_a_pod_of_no_policy_would_be_open() -> None:
    policies = of_kind(render(options=_OPTIONS), "NetworkPolicy")
    unknown = _pod("debug")

    assert not _is_open(policies, unknown, _PLACES["internet"], 443)
    others = [one for one in policies if not one["metadata"]["name"].endswith("default-deny")]
    assert _is_open(others, unknown, _PLACES["internet"], 443)


def _is_open(policies: Sequence[Manifest], source: Place, target: Place, port: int) -> bool:
    return _allows(policies, "Egress", source, target, port) and _allows(
        policies, "Ingress", target, source, port
    )


def _allows(
    policies: Sequence[Manifest], direction: str, pod: Place, other: Place, port: int
) -> bool:
    """As the API defines it: the rules of all policies that select a pod add up."""
    applying = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"]
        and pod.namespace == NAMESPACE
        and _matches(policy["spec"]["podSelector"], pod.labels)
    ]
    rules = [rule for spec in applying for rule in spec.get(direction.lower(), [])]
    return not applying or any(_rule_allows(rule, direction, other, port) for rule in rules)


def _rule_allows(rule: Manifest, direction: str, other: Place, port: int) -> bool:
    peers = rule.get("to" if direction == "Egress" else "from")
    return port in {one["port"] for one in rule["ports"]} and (
        not peers or any(_is_peer(peer, other) for peer in peers)
    )


def _is_peer(peer: Manifest, other: Place) -> bool:
    if "ipBlock" in peer:
        return bool(peer["ipBlock"]["cidr"] == other.address)
    namespace = {("kubernetes.io/metadata.name", other.namespace)}
    if "namespaceSelector" in peer:
        in_namespace = _matches(peer["namespaceSelector"], namespace)
    else:
        in_namespace = other.namespace == NAMESPACE
    return in_namespace and _matches(peer.get("podSelector", {}), other.labels)


def _matches(selector: Manifest, labels: Iterable[tuple[str, str]]) -> bool:
    return set(selector.get("matchLabels", {}).items()) <= set(labels)
