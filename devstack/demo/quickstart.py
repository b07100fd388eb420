"""Addresses and commands to paste into another terminal while the stack runs."""

import json
import secrets
import shlex
import shutil
import sysconfig
from pathlib import Path

from devstack.stack import Stack

_RECIPIENT = {"email": "li.hua@example.com", "display_name": "李华", "language_code": "zh-CN"}


def quickstart(stack: Stack) -> str:
    sections = (_addresses, _grpcurl_session, _event_tracing, _operator_commands)
    return "\n".join(section(stack) for section in sections)


def _addresses(stack: Stack) -> str:
    names = ("payment", "interview", "notification", "provider")
    lines = [f"  {name:13} {stack.address(name)}" for name in names]
    lines += [f"  {'mail':13} smtp {stack.smtp_host}:{stack.smtp_port}, stored in {stack.mail_dir}"]
    lines += [f"  {'PostgreSQL':13} {stack.superuser_url.replace('+asyncpg', '')}"]
    lines += [f"  {'logs':13} {stack.directory / 'logs'}"]
    return "\n".join(["Addresses", *lines, ""])


def _grpcurl_session(stack: Stack) -> str:
    prefix = f"up-{secrets.token_hex(4)}"
    order = {
        "request_id": f"{prefix}-order",
        "customer_id": "li.hua",
        "product_id": "backend-60",
        "recipient": _RECIPIENT,
    }
    payment = {
        "request_id": f"{prefix}-payment",
        "order_id": "<order_id>",
        "payment_method": "sandbox_approve",
    }
    start = {"request_id": f"{prefix}-start", "access_code": "<access_code>"}
    by_order = {"order_id": "<order_id>"}
    by_code = {"access_code": "<access_code>"}
    steps = [
        ("payment", "payment.v1.PaymentService/ListProducts", {}),
        ("payment", "payment.v1.PaymentService/CreateOrder", order),
        ("payment", "payment.v1.PaymentService/CreatePayment", payment),
        ("notification", "notification.v1.NotificationService/ListNotifications", by_order),
        ("payment", "payment.v1.AccessCodeService/GetAccessCode", by_order),
        ("payment", "payment.v1.AccessCodeService/ValidateAccessCode", by_code),
        ("interview", "interview.v1.InterviewService/CheckAccessCode", by_code),
        ("interview", "interview.v1.InterviewService/StartSession", start),
        ("interview", "interview.v1.InterviewService/ListSessions", by_order),
    ]
    # Only an operator may read the code; a storefront makes all other calls for its customers.
    roles = {"payment.v1.AccessCodeService/GetAccessCode": "operator"}
    calls = [
        f"  {_grpcurl(stack, roles.get(method, 'storefront'), name, method, body)}"
        for name, method, body in steps
    ]
    title = "A journey, from the catalogue to the interview (insert ids and codes from the replies)"
    return "\n".join([title, *calls, ""])


def _grpcurl(stack: Stack, role: str, name: str, method: str, body: object) -> str:
    token = f'-H "authorization: Bearer $(cat {stack.keys.tokens / role})"'
    data = f" -d '{json.dumps(body, ensure_ascii=False)}'" if body else ""
    return f"grpcurl -plaintext {token}{data} {stack.address(name)} {method}"


def _event_tracing(stack: Stack) -> str:
    nats = f"nats --server {stack.nats_login('trace').url}"
    translate = f"--translate '{_opsctl()} decode {{{{Subject}}}}'"
    lines = [
        f"{nats} sub 'payment.v1.>' {translate}",
        f"{nats} sub '*.v1.*.<order_id>' {translate}",
        f"{nats} sub --stream PAYMENT --direct --all {translate}",
        f"{nats} stream ls",
        f"{nats} consumer info PAYMENT interview",
    ]
    return "\n".join(["Events", *(f"  {line}" for line in lines), ""])


def _operator_commands(stack: Stack) -> str:
    opsctl = f"{_opsctl()} --data-dir {shlex.quote(str(stack.directory))}"
    commands = (
        "status",
        "journey <order_id>",
        "dead-letters list",
        "check-bus",
        "consistency --repair",
    )
    calls = [
        *(f"{opsctl} {command}" for command in commands),
        _grpcurl(stack, "operator", "interview", "ops.v1.OpsService/GetBusStatus", {}),
    ]
    return "\n".join(["Operators", *(f"  {call}" for call in calls)])


def _opsctl() -> str:
    installed = Path(sysconfig.get_path("scripts")) / "opsctl"
    return str(installed) if installed.exists() else shutil.which("opsctl") or str(installed)
