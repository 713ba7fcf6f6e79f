"""How fast a weight takes effect, and what 500 ModelDeployments cost; a real Envoy on this machine.

    python bench/router.py [--deployments 500] [--flips 40]

Prints one JSON object. Upstreams are trivial, so the figures are the router's and the leader's alone.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from envoys import CREATED, Site, Upstream, arm, fashion, site, upstreams
from slipway.router.resources import build
from slipway.router.route import Arm, Route
from slipway.router.scrape import FILTER, parse

OLD, NEW = "fashion-aaaaaa", "fashion-bbbbbb"


async def main(deployments: int, flips: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"machine": f"{platform.machine()}, Python {platform.python_version()}"}
    with tempfile.TemporaryDirectory() as directory:
        async with site(Path(directory)) as here, upstreams(OLD, NEW) as (old, new):
            figures["one deployment"] = await weight_to_answer(here, old, new, [], flips)
            many = [_deployment(number, old, new) for number in range(deployments - 1)]
            figures["build_ms"] = building([*many, fashion(arm(old, 50), arm(new, 50))])
            # The trivial upstreams are part of this process: health checks of all would be timed, not the router.
            idle = [_without_pods(route) for route in many]
            started = time.perf_counter()
            await here.route(*idle, fashion(arm(old, 100), arm(new, 0)))
            figures["all_at_once_s"] = round(time.perf_counter() - started, 2)
            figures[f"{deployments} deployments"] = await weight_to_answer(here, old, new, idle, flips)
            await here.route(*many)
            figures["scrape"] = await scraping(here, many)
            figures["envoy_rss_mib"] = _rss_mib(here)
    return figures


async def weight_to_answer(
    here: Site, old: Upstream, new: Upstream, others: list[Route], flips: int
) -> dict[str, Any]:
    """From the moment the new weights are known to the first answer of the new arm, and to the ACK."""
    answers, acks = [], []
    leader_cpu, router_cpu = time.process_time(), _cpu_s(here)
    await here.route(*others, fashion(arm(old, 100), arm(new, 0)))
    for flip in range(flips):
        weight = 0 if flip % 2 else 100
        wanted = OLD if flip % 2 else NEW
        started = time.perf_counter()
        resources = build([*others, fashion(arm(old, 100 - weight), arm(new, weight))], here.ports)
        here.ads.update(resources)
        while (await here.infer())[1] != wanted:
            pass
        answers.append(1000 * (time.perf_counter() - started))
        while not here.ads.acknowledged(resources.version, [here.name]):  # noqa: ASYNC110 - timed, not waited for
            await asyncio.sleep(0)
        acks.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(0.03)
    return {
        "weight_to_first_answer_ms": _summary(answers),
        "weight_to_ack_ms": _summary(acks),
        # On a busy machine the times above say little; these say what a change costs.
        "leader_cpu_ms_a_change": round(1000 * (time.process_time() - leader_cpu) / flips, 1),
        "router_cpu_ms_a_change": round(1000 * (_cpu_s(here) - router_cpu) / flips, 1),
    }


def building(routes: list[Route]) -> dict[str, float]:
    """Time of the pure function: all new, nothing changed, one weight changed."""

    def timed(wanted: list[Route]) -> float:
        started = time.perf_counter()
        build(wanted)
        return round(1000 * (time.perf_counter() - started), 1)

    first = timed(routes)
    again = timed(routes)
    one = replace(routes[0], arms=(replace(routes[0].arms[0], weight=7), *routes[0].arms[1:]))
    return {"all_new": first, "nothing_changed": again, "one_weight_changed": timed([one, *routes[1:]])}


async def scraping(here: Site, many: list[Route]) -> dict[str, float]:
    """A reading after every deployment has had requests."""
    for route in many:
        path = f"/v2/models/{route.name}/infer"
        await asyncio.gather(*(here.infer(route.own_domains[0], path) for _ in range(4)))
    await asyncio.sleep(1.5)
    url = f"https://127.0.0.1:{here.stats_port}/stats/prometheus"
    tls = here.tls(here.certificates.client)
    started = time.perf_counter()
    async with here.session.get(url, params={"usedonly": "", "filter": FILTER}, ssl=tls) as response:
        text = await response.text()
    fetched = time.perf_counter()
    scrape = parse(text)
    parsed = time.perf_counter()
    return {
        "clusters_with_requests": len(scrape.clusters),
        "mib": round(len(text) / 2**20, 2),
        "fetch_ms": round(1000 * (fetched - started), 1),
        "parse_ms": round(1000 * (parsed - fetched), 1),
    }


def _deployment(number: int, old: Upstream, new: Upstream) -> Route:
    name = f"model-{number:04}"
    arms = tuple(
        Arm(f"{name}-{letter * 6}", 50, (upstream.endpoint,)) for letter, upstream in (("a", old), ("b", new))
    )
    return Route("demo", name, CREATED + timedelta(seconds=number), (), arms)


def _without_pods(route: Route) -> Route:
    return replace(route, arms=tuple(replace(one, endpoints=()) for one in route.arms))


def _summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "max": round(ordered[-1], 1),
    }


def _cpu_s(here: Site) -> float:
    """User and system time of the router's process so far."""
    assert here.process is not None
    fields = Path(f"/proc/{here.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mib(here: Site) -> int:
    assert here.process is not None
    lines = Path(f"/proc/{here.process.pid}/status").read_text().splitlines()
    (resident,) = (line.split()[1] for line in lines if line.startswith("VmRSS"))
    return int(resident) // 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=500)
    parser.add_argument("--flips", type=int, default=40)
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(main(arguments.deployments, arguments.flips)), indent=2))
