"""The example in the README of the package runs as it is printed there."""

import asyncio
import os
import re
import sys
from pathlib import Path

import eventbus
from devstack.stack import Stack
from tests.integration.drivers.bus import Bus

README = Path(eventbus.__file__).parent / "README.md"


async def test_the_example_of_the_readme_runs_and_prints_its_greeting(
    bus: Bus, servers: Stack, tmp_path: Path
) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    script = tmp_path / "greeter.py"
    script.write_text(example)
    login = servers.nats_login("admin")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DATABASE_URL": servers.superuser_url,
        "NATS_URL": servers.nats_url,
        "NATS_USER": login.user,
        "NATS_PASSWORD": login.password,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        script,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
        await (await bus.administrator()).jetstream().delete_stream("GREETER")
        await bus.execute("DROP SCHEMA IF EXISTS greeter CASCADE")
    assert process.returncode == 0, output.decode()
    assert "li: hello" in output.decode().splitlines()
