"""What a router starts from: accepted by Envoy (every other test of this folder runs on it), and its end."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from envoys import HOST, arm, fashion, site, upstreams
from slipway.router.bootstrap import bootstrap, drain_command
from slipway.router.buckets import LADDER_MS


def test_a_drained_router_closes_its_connections_and_fails_no_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with site(tmp_path) as here, upstreams("fashion-aaaaaa") as (one,):
            await here.route(fashion(arm(one, 100)))
            url = f"http://127.0.0.1:{here.ports.http}/v2/models/fashion/infer"

            async def ask() -> tuple[int, str]:
                async with here.session.post(url, headers={"Host": HOST}, data=b"{}") as response:
                    await response.read()
                    return response.status, response.headers.get("connection", "")

            assert {await ask() for _ in range(5)} == {(200, "")}
            command = drain_command(here.admin_port)
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            told, _ = await process.communicate()
            assert b"200 OK" in told
            answers = [await ask() for _ in range(20)]
            assert set(answers) == {(200, "close")}

    asyncio.run(run())


def test_the_module_prints_the_files_of_the_chart() -> None:
    command = [sys.executable, "-m", "slipway.router.bootstrap", "--ads-host", "slipway-leader.slipway.svc"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert told == bootstrap("slipway-leader.slipway.svc")
    envoy = json.loads(told["envoy.json"])
    assert envoy["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    (histogram,) = envoy["stats_config"]["histogram_bucket_settings"]
    assert histogram["buckets"] == list(LADDER_MS)
    assert {"authority.json", "certificate.json"} < told.keys()
