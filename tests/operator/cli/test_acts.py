"""promote, abort, retry, pin: what reaches the object, and what is refused because it could have no effect."""

from typing import Any

import pytest

import make
from slipway.cli import acts
from slipway.cli.cluster import CliError

CANARY = {"name": "fashion-84b1e0", "role": "Canary", "modelVersionRef": {"name": "v2"}, "weight": 20}
STABLE = {"name": "fashion-6d4f9c", "role": "Stable", "modelVersionRef": {"name": "v1"}, "weight": 80}


def annotations(shop: Any) -> dict[str, str]:
    found: dict[str, str] = shop.cluster.get("ModelDeployment", "fashion")["metadata"].get("annotations", {})
    return found


@pytest.mark.parametrize("act", ["promote", "abort"])
def test_an_act_on_a_rollout_under_way_is_a_new_value_each_time(shop: Any, act: str) -> None:
    shop.put(make.model_deployment("fashion"), phase="Progressing", revisions=[STABLE, CANARY])
    assert f"Asked ModelDeployment fashion to {act}." in acts.ask(shop.cluster, "fashion", act)
    first = annotations(shop)[f"slipway.dev/{act}"]
    acts.ask(shop.cluster, "fashion", act)
    assert annotations(shop)[f"slipway.dev/{act}"] != first


@pytest.mark.parametrize("act", ["promote", "abort"])
def test_an_act_without_a_rollout_is_refused_and_nothing_written(shop: Any, act: str) -> None:
    shop.put(make.model_deployment("fashion"), phase="Healthy", revisions=[STABLE])
    with pytest.raises(CliError, match=f"has no rollout under way; {act} has nothing to act on"):
        acts.ask(shop.cluster, "fashion", act)
    assert annotations(shop) == {}


def test_only_a_rejected_revision_is_retried(shop: Any) -> None:
    shop.put(make.model_deployment("fashion"), phase="Healthy", revisions=[STABLE])
    with pytest.raises(CliError, match=r"has no rejected revision to retry \(phase Healthy\)"):
        acts.ask(shop.cluster, "fashion", "retry")
    shop.report("ModelDeployment", "fashion", phase="Degraded")
    acts.ask(shop.cluster, "fashion", "retry")
    assert "slipway.dev/retry" in annotations(shop)


def test_only_a_known_revision_is_pinned_and_unpinning_takes_the_annotation_off(shop: Any) -> None:
    shop.put(make.model_deployment("fashion"), phase="Healthy", revisions=[STABLE])
    with pytest.raises(
        CliError, match="fashion-0 is no revision of ModelDeployment fashion; there are fashion-6d4f9c"
    ):
        acts.pin(shop.cluster, "fashion", "fashion-0")
    assert acts.pin(shop.cluster, "fashion", "fashion-6d4f9c").endswith(
        "stays on fashion-6d4f9c until unpinned."
    )
    assert annotations(shop) == {"slipway.dev/pin": "fashion-6d4f9c"}
    assert acts.pin(shop.cluster, "fashion", None).endswith("follows its spec.")
    assert annotations(shop) == {}
