import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from routers import ANALYSIS, CANARY, Script, Serving
from slipway.kinds.model_deployment.decide import decide
from slipway.kinds.model_deployment.world import World

LIMIT = 32 * 1024


def test_the_largest_status_fits() -> None:
    """20 steps with figures of two metrics, 10 old rollouts, long names."""
    cluster = Serving()
    long = "v" * 38
    steps = [{"setWeight": weight} for weight in range(5, 100, 5)] + [{"setWeight": 96}]
    cluster.routers.requests_per_s = 4000
    for number in range(11):
        cluster.add_version(f"{long}{number}")
        cluster.script[f"{long}{number}"] = Script(slow=0)  # spotless ones pass without burn-in
    cluster.deploy(f"{long}0", slo=CANARY["slo"], autoscaling={"maxReplicas": 3})
    for number in range(10):
        cluster.serve(f"{long}{number}")
        cluster.until("Healthy", most=20)
        cluster.tick(1)
    canary = {"rollout": {"canary": {"steps": steps}}, "analysis": {**ANALYSIS, "interval": "1s"}}
    cluster.edit("ModelDeployment", "demo", "fashion", {"spec": canary})
    cluster.serve(f"{long}10")
    for _ in range(600):
        cluster.tick()
        if cluster.status["rollout"]["step"] == 20:
            break
    status = cluster.status
    assert (len(status["history"]), len(status["rollout"]["steps"])) == (10, 20)
    assert len(json.dumps(status).encode()) <= LIMIT


def healthy() -> Serving:
    cluster = Serving()
    cluster.add_version("v1")
    cluster.deploy("v1", **CANARY)
    cluster.until("Healthy")
    cluster.tick(70)
    return cluster


def status_of(world: World) -> dict[str, Any]:
    found = decide(world).status
    assert found is not None
    return dict(found)


def test_the_same_world_gives_the_same_decision() -> None:
    world = healthy().world()
    assert decide(world) == decide(world)


def test_without_fresh_figures_those_of_before_stand() -> None:
    cluster = healthy()
    world = cluster.world()
    assert world.deployment.status.metrics["requests_per_s"] > 100
    old = replace(world, now=world.now + timedelta(seconds=60), traffic=replace(world.traffic, rates={}))
    assert status_of(old)["metrics"] == cluster.status["metrics"]


def test_no_requests_is_a_figure_of_its_own() -> None:
    world = healthy().world()
    idle = replace(world, traffic=replace(world.traffic, rates={}, intervals={}))
    assert status_of(idle)["metrics"] == {"requests_per_s": 0.0}


def test_all_conditions_are_set_at_the_first_visit() -> None:
    cluster = Serving()
    cluster.deploy("v1")
    assert [(c["type"], c["status"], c["reason"]) for c in cluster.status["conditions"]] == [
        ("InputsReady", "False", "ModelVersionNotFound"),
        ("Available", "False", "NoReplicas"),
        ("TrafficVerified", "Unknown", "RouterUnavailable"),
        ("ScalingActive", "False", "FixedReplicas"),
        ("Ready", "False", "ModelVersionNotFound"),
        ("Reconciling", "True", "ModelVersionNotFound"),
        ("Stalled", "False", "ModelVersionNotFound"),
    ]
    assert cluster.status["phase"] == "Pending"
