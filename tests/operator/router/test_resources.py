"""The route table and clusters against a real Envoy under a real xDS server."""

import asyncio
from pathlib import Path

from envoys import arm, fashion, site, upstreams


def test_requests_are_shared_by_weight_and_name_their_revision(tmp_path: Path) -> None:
    async def run() -> None:
        async with site(tmp_path) as here, upstreams("fashion-aaaaaa", "fashion-bbbbbb") as (one, two):
            await here.route(fashion(arm(one, 80), arm(two, 20)))
            answers = [await here.infer() for _ in range(300)]
            assert {status for status, _ in answers} == {200}
            assert 30 <= sum(revision == two.name for _, revision in answers) <= 95
            assert two.answered == sum(revision == two.name for _, revision in answers)

    asyncio.run(run())
