"""ValidateAccessCode: calls per second and CPU per call, against an echo and a naive server."""

from collections.abc import Mapping

from bench.load import Load, generate_load
from bench.processes import cpu_seconds, running_server, settings_of
from bench.rounds import Comparison, Measure, Options, Series, alternate
from bench.seed import PaidOrder, paid_orders, store_orders
from bench.stack import bench_stack
from devstack.stack import Stack
from payment.v1 import access_code_service_pb2
from runtime.auth.authentication import Role

SERVICE = access_code_service_pb2.DESCRIPTOR.services_by_name["AccessCodeService"]
METHOD = "ValidateAccessCode"
CALLERS = 64
ECHO, ORM = "bare grpc.aio server, constant reply", "one ORM query per call, no authentication"


async def run(options: Options) -> list[Comparison]:
    """Throughput at 64 callers, and the CPU time of a call."""
    orders = paid_orders(options.count(5_000))
    async with bench_stack(["postgres", "nats", "payment"]) as stack:
        await store_orders(stack, orders)
        environment = settings_of(stack, "payment")
        async with (
            running_server("echo_server", environment, stack.log("echo")) as echo,
            running_server("orm_server", environment, stack.log("orm")) as orm,
        ):
            servers = {
                "payment": (stack.address("payment"), stack.pid("payment")),
                ECHO: echo,
                ORM: orm,
            }
            cpu: dict[str, list[float]] = {name: [] for name in servers}
            subjects = _subjects(stack, servers, orders, options, cpu)
            ours, *references = await alternate(subjects, options.rounds)
    cpu_ours, *cpu_references = [Series(name, values) for name, values in cpu.items()]
    goals = {ECHO: 0.55, ORM: 1.8}
    return [
        Comparison(f"{METHOD}, {CALLERS} callers", "calls/s", ours, references, goals),
        Comparison(
            "CPU of the server per call", "µs", cpu_ours, cpu_references, higher_is_better=False
        ),
    ]


def token(stack: Stack) -> str:
    """The identity with which interview validates."""
    return stack.keys.token("interview", Role.SERVICE)


def requests(orders: list[PaidOrder]) -> list[dict[str, str]]:
    """A validation of each order's code."""
    return [{"access_code": order.code} for order in orders]


def _subjects(
    stack: Stack,
    servers: Mapping[str, tuple[str, int]],
    orders: list[PaidOrder],
    options: Options,
    cpu: Mapping[str, list[float]],
) -> dict[str, Measure]:
    load = Load(options.seconds, CALLERS)

    def measure(name: str) -> Measure:
        address, pid = servers[name]

        async def throughput() -> float:
            before = cpu_seconds(pid)
            report = await generate_load(
                address, SERVICE, METHOD, requests(orders), load, token(stack)
            )
            cpu[name].append((cpu_seconds(pid) - before) * 1e6 / max(1, report.ok))
            return report.ok_per_second

        return throughput

    return {name: measure(name) for name in servers}
