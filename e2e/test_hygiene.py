"""What the other tests leave behind: it runs after them (conftest.py)."""

import json
import time
from datetime import datetime

import given
from conftest import restarts
from stage import CHILDREN, MANAGED, OURS, Manifest, Stage

SETTLING_SECONDS = 15
REST_SECONDS = 30


def test_objects_at_rest_are_not_written_to(stage: Stage, bands: str) -> None:
    stage.given(given.version("restful", "plain-1"), given.deployment("restful", "restful"))
    stage.reaches("ModelDeployment", "restful", "Healthy")
    time.sleep(SETTLING_SECONDS)

    before = versions(stage)
    time.sleep(REST_SECONDS)
    after = versions(stage)

    assert after == before, [name for name in after if after[name] != before.get(name)]
    assert "ModelDeployment/restful" in before
    assert "ConfigMap/restful-rollout" in before


def test_no_process_of_the_release_has_restarted_by_itself(
    stage: Stage, restarts_before: dict[str, int]
) -> None:
    more = {
        container: count
        for container, count in restarts(stage).items()
        if count > restarts_before.get(container, 0) and container.partition("/")[0] not in stage.killed
    }

    assert not more


def test_the_operator_has_logged_no_error(stage: Stage, began: datetime) -> None:
    lines = stage.operator_log(began)
    assert lines, "the log was read"
    bad = [line for line in lines if line.get("level") in ("error", "critical") or "exception" in line]

    assert not bad, json.dumps(bad[:5], indent=1)


def test_no_secret_of_the_store_is_in_what_people_can_read(stage: Stage, began: datetime) -> None:
    secret = stage.get("secret", "slipway-store")
    assert secret is not None
    key = stage("get", "secret/slipway-store", "-o", "go-template={{.data.secretAccessKey | base64decode}}")
    assert len(key) > 8
    told = json.dumps(
        [stage.find(OURS), stage.find("events"), stage.find("configmaps"), stage.operator_log(began)]
    )

    assert key not in told


def test_nothing_is_left_when_the_objects_are_deleted(stage: Stage) -> None:
    stage("delete", OURS, "--all", "--timeout=90s")

    deadline = time.monotonic() + 60
    while left := stage.find(CHILDREN, "-l", MANAGED):
        assert time.monotonic() < deadline, [name(one) for one in left]
        time.sleep(1)
    assert not stage.find(OURS)


def versions(stage: Stage) -> dict[str, str]:
    """resourceVersion of our objects and of what belongs to them."""
    found = [*stage.find(OURS), *stage.find(CHILDREN, "-l", MANAGED)]
    return {name(one): one["metadata"]["resourceVersion"] for one in found}


def name(one: Manifest) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"
