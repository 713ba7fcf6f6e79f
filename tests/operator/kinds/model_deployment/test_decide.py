"""Whole rollouts on the cluster in memory; routers.Serving checks after every write what may never be."""

from dataclasses import replace
from typing import Any

import pytest

import make
from cluster import PLATFORM, assert_at_rest
from routers import CANARY, NAME, NAMESPACE, PLACE, ROLLOUT, SLO, Script, Serving
from slipway.decision import Decision
from slipway.kinds.model_deployment.decide import decide

pytestmark = pytest.mark.slow

DROP_TRIAL = ("ConfigMap", NAMESPACE, f"{NAME}-rollout")
SLOW = Script(slow=0.31)


def serving(**spec: Any) -> Serving:
    """v1 serves; v2 and v3 are ready."""
    cluster = Serving()
    for version in ("v1", "v2", "v3"):
        cluster.add_version(version)
    cluster.deploy("v1", **(spec or CANARY))
    cluster.until("Healthy")
    return cluster


def rolled_back() -> Serving:
    cluster = serving()
    cluster.script["v3"] = SLOW
    cluster.serve("v3")
    cluster.until("Degraded")
    cluster.tick(10)
    return cluster


def test_the_first_revision_takes_over_after_its_self_test() -> None:
    cluster = Serving()
    cluster.add_version("v1")
    cluster.routers.names = ()
    cluster.deploy("v1", **CANARY)
    cluster.tick(5)
    assert cluster.status["phase"] == "Pending"
    assert cluster.condition("Ready") == ("False", "SelfTesting", "Its examples are being sent.")
    cluster.routers.names = ("router-a",)
    cluster.until("Healthy")
    assert cluster.weights == [{"v1": 0}, {"v1": 100}]
    assert cluster.outcomes == [("v1", "Promoted", "FirstRevision")]
    assert cluster.status["summary"] == "Serving v1 at fashion.demo."
    assert cluster.condition("Ready") == ("True", "UpToDate", "v1 answers all requests.")


def test_a_first_revision_with_wrong_answers_gets_nothing_and_stays_rejected() -> None:
    cluster = Serving()
    cluster.add_version("v1")
    cluster.script["v1"] = Script(
        self_test="answers example 2 with class Bag, recorded Shirt; it gets no traffic."
    )
    cluster.deploy("v1", **CANARY)
    cluster.until("Degraded")
    said = f"{cluster.revision('v1')} answers example 2 with class Bag, recorded Shirt; it gets no traffic."
    assert cluster.condition("Ready") == ("False", "SelfTestFailed", said)
    assert cluster.condition("Stalled")[0] == "True"
    cluster.tick(20)
    assert cluster.replicas() == {}
    cluster.restart()
    cluster.tick(5)
    cluster.delete(*DROP_TRIAL)
    cluster.tick(5)
    assert (cluster.status["phase"], cluster.replicas()) == ("Degraded", {})


def test_a_good_version_is_promoted_step_by_step() -> None:
    cluster = serving()
    cluster.serve("v2")
    cluster.until("Progressing")
    cluster.until("Healthy")
    assert cluster.weights[1:] == [
        {"v1": 100},
        {"v1": 100, "v2": 0},
        {"v1": 80, "v2": 20},
        {"v1": 50, "v2": 50},
        {"v2": 100},
    ]
    steps = [(s["setWeight"], s["verdict"], len(s["metrics"])) for s in cluster.status["rollout"]["steps"]]
    assert steps == [(20, "Pass", 2), (50, "Pass", 2)]
    cluster.tick(10)
    assert cluster.replicas() == {"v2": 1}
    assert cluster.outcomes == [("v1", "Promoted", "FirstRevision"), ("v2", "Promoted", "AllPassed")]


def test_what_is_on_trial_is_told_with_its_evidence() -> None:
    cluster = serving()
    cluster.serve("v2")
    cluster.tick(40)
    status = cluster.status
    assert status["summary"].startswith(
        "Canary v2 takes 20 % (step 1 of 2): errors within 0.01 of stable; slow"
    )
    assert (status["rollout"]["step"], status["rollout"]["totalSteps"]) == (1, 2)
    metric = status["rollout"]["steps"][0]["metrics"][1]
    assert metric["samplesNeeded"] > 0
    assert metric["evidence"]["rollbackAt"] == 5.99
    assert cluster.condition("Ready") == ("False", "RolloutInProgress", "Step 1 of 2.")
    assert cluster.condition("Available") == ("True", "Serving", "2 of 2 replicas answer.")
    assert cluster.condition("TrafficVerified") == (
        "True", "SharesMatch", "20 % asked, 20 % seen in the last minute.",
    )  # fmt: skip


def test_a_slow_version_is_rolled_back_and_the_reason_told() -> None:
    cluster = rolled_back()
    assert cluster.status["summary"] == (
        "Serving v1. v3 was rolled back at 20 %: 31 % of its requests took over 25ms, of stable's 0.8 %. "
        "Name another version, relax slo.latency, or: kubectl slipway retry fashion."
    )
    assert cluster.condition("Ready") == (
        "False", "RolledBack", "v3 was rolled back: slow_rate 0.31 against 0.0083.",
    )  # fmt: skip
    assert cluster.outcomes[-1] == ("v3", "RolledBack", "SlowRateIncreased")
    assert cluster.status["rollout"]["verdict"] == "Fail"
    assert cluster.replicas() == {"v1": 1}


def test_a_version_that_fails_requests_is_rolled_back_by_errors() -> None:
    cluster = serving()
    cluster.script["v3"] = Script(errors=0.4)
    cluster.serve("v3")
    cluster.until("Degraded")
    assert cluster.outcomes[-1] == ("v3", "RolledBack", "ErrorRateIncreased")
    assert (
        "40 % of its requests failed, of stable's 0 %. Name another version, or: kubectl"
        in cluster.status["summary"]
    )


@pytest.mark.parametrize("lost", ["nothing", "operator", "rollout", "status", "rollout and status"])
def test_a_rejected_revision_stays_rejected_whatever_is_lost(lost: str) -> None:
    cluster = rolled_back()
    outcomes, summary = cluster.outcomes, cluster.status["summary"]
    if "rollout" in lost:
        cluster.delete(*DROP_TRIAL)
    if "status" in lost:
        cluster.set_status(*PLACE, {"observedGeneration": -1})
    cluster.restart()
    cluster.tick(30)
    assert cluster.status["phase"] == "Degraded"
    assert cluster.weights[-1] == {"v1": 100}
    assert cluster.replicas() == {"v1": 1}
    assert cluster.outcomes == outcomes
    if lost != "rollout and status":
        assert cluster.status["summary"] == summary
    else:  # the figures are gone with both, the reason isn't
        assert (
            "v3 was rolled back: slow_rate 0.31 against 0.0083. Name another version"
            in cluster.status["summary"]
        )


def test_stable_stays_stable_when_status_and_rollout_are_lost() -> None:
    cluster = serving()
    revision = cluster.status["revisions"]
    cluster.delete(*DROP_TRIAL)
    cluster.set_status(*PLACE, {"observedGeneration": -1})
    cluster.restart()
    cluster.tick(3)
    assert cluster.status["revisions"] == revision
    assert cluster.outcomes == [("v1", "Promoted", "FirstRevision")]


def test_evidence_lost_mid_trial_starts_anew() -> None:
    cluster = serving()
    cluster.serve("v2")
    cluster.tick(40)
    cluster.delete(*DROP_TRIAL)
    cluster.until("Healthy")
    assert {"v1": 100, "v2": 0} in cluster.weights[4:], "it begins again without weight"
    assert cluster.weights[-1] == {"v2": 100}


def test_retry_with_a_new_value_tries_once_more() -> None:
    cluster = rolled_back()
    cluster.ask("retry", "1")
    cluster.until("Degraded")
    cluster.tick(30)
    tries = [outcome for outcome in cluster.outcomes if outcome[0] == "v3"]
    assert tries == [("v3", "RolledBack", "SlowRateIncreased")] * 2
    cluster.script["v3"] = Script()
    cluster.restart()
    cluster.tick(30)
    assert cluster.status["phase"] == "Degraded", "the value was acted upon"
    cluster.ask("retry", "2")
    cluster.until("Healthy")
    assert cluster.weights[-1] == {"v3": 100}
    assert len(cluster.outcomes) == 4


def test_another_version_ends_the_rejection() -> None:
    cluster = rolled_back()
    cluster.serve("v2")
    cluster.until("Healthy")
    cluster.serve("v3")
    cluster.until("Degraded")
    assert [outcome[0] for outcome in cluster.outcomes] == ["v1", "v3", "v2", "v3"]


def test_abort_goes_back_and_acts_once() -> None:
    cluster = serving()
    cluster.serve("v2")
    cluster.tick(20)
    cluster.ask("abort")
    cluster.until("Degraded")
    assert cluster.condition("Ready") == ("False", "Aborted", "v2 was aborted at 20 % by slipway.dev/abort.")
    assert cluster.outcomes[-1] == ("v2", "Aborted", "Aborted")
    cluster.serve("v3")
    cluster.until("Healthy")
    assert cluster.weights[-1] == {"v3": 100}, "the old abort doesn't act on it"


def test_promote_finishes_at_once_and_acts_once() -> None:
    cluster = serving()
    cluster.serve("v2")
    cluster.tick(10)
    cluster.ask("promote")
    cluster.until("Healthy", most=10)
    assert cluster.outcomes[-1] == ("v2", "Promoted", "PromotedByUser")
    assert {"v1": 50, "v2": 50} not in cluster.weights
    cluster.serve("v3")
    cluster.tick(20)
    assert cluster.weights[-1] == {"v2": 80, "v3": 20}


def test_asked_before_a_rollout_began_does_not_act_on_it() -> None:
    cluster = serving()
    for act in ("abort", "promote", "retry"):
        cluster.ask(act, "early")
    cluster.tick(5)
    cluster.serve("v2")
    cluster.tick(20)
    assert cluster.weights[-1] == {"v1": 80, "v2": 20}
    assert cluster.status["rollout"]["verdict"] == "Continue"


def test_no_verdict_in_time_pauses_until_promote() -> None:
    rollout = {"canary": {"steps": [{"setWeight": 20}]}, "stepDeadline": "20s"}
    cluster = serving(**{**CANARY, "rollout": rollout})
    cluster.routers.requests_per_s = 10
    cluster.serve("v2")
    cluster.until("Paused")
    status, reason, message = cluster.condition("Ready")
    assert (status, reason) == ("False", "Inconclusive")
    assert message.startswith("No verdict on error_rate in 20s: 30 canary requests, about ")
    assert message.endswith(" needed. Paused: promote, abort, or send more traffic.")
    assert cluster.condition("Reconciling")[0] == "True"
    cluster.ask("promote")
    cluster.until("Healthy")
    assert cluster.status["rollout"]["steps"][0]["verdict"] == "Inconclusive"
    assert cluster.outcomes[-1] == ("v2", "Promoted", "AllPassed")


def test_a_pause_among_the_steps_waits_its_time_or_for_promote() -> None:
    steps = [{"setWeight": 20}, {"pause": {"duration": "30s"}}, {"setWeight": 50}, {"pause": {}}]
    cluster = serving(rollout={"canary": {"steps": steps}})
    cluster.serve("v2")
    cluster.until("Paused")
    assert cluster.status["summary"] == "Serving v1. v2: Paused at 20 % for 30s."
    cluster.tick(25)
    assert cluster.weights[-1] == {"v1": 80, "v2": 20}
    cluster.tick(10)
    assert cluster.weights[-1] == {"v1": 50, "v2": 50}
    assert cluster.status["summary"] == "Serving v1. v2: Paused at 50 %: promote or abort."
    cluster.tick(300)
    assert cluster.status["phase"] == "Paused"
    cluster.ask("promote")
    cluster.until("Healthy")
    shown = [(s.get("setWeight", "pause"), s["verdict"]) for s in cluster.status["rollout"]["steps"]]
    assert shown == [(20, "Pass"), ("pause", "Pass"), (50, "Pass"), ("pause", "Pass")]


def test_steps_edited_on_trial_count_from_the_next_rollout_on() -> None:
    cluster = serving(rollout={"canary": {"steps": [{"setWeight": 20}, {"pause": {}}, {"setWeight": 50}]}})
    cluster.serve("v2")
    cluster.until("Paused")
    cluster.edit(*PLACE, {"spec": {"rollout": {"canary": {"steps": [{"setWeight": 20}]}}}})
    cluster.tick(30)
    assert cluster.status["phase"] == "Paused"
    assert cluster.status["rollout"]["totalSteps"] == 2


def test_a_version_that_turns_bad_in_a_pause_is_rolled_back() -> None:
    steps = [{"setWeight": 20}, {"pause": {}}]
    cluster = serving(**{**CANARY, "rollout": {"canary": {"steps": steps}}})
    cluster.serve("v2")
    cluster.until("Paused")
    cluster.script["v2"] = Script(errors=0.9)
    cluster.until("Degraded")
    shown = [(s.get("setWeight", "pause"), s["verdict"]) for s in cluster.status["rollout"]["steps"]]
    assert shown == [(20, "Fail"), ("pause", "Continue")]


def test_paused_holds_the_rollout_where_it_is() -> None:
    cluster = serving()
    cluster.edit(*PLACE, {"spec": {"rollout": {"paused": True}}})
    cluster.serve("v2")
    cluster.until("Paused")
    cluster.tick(60)
    assert cluster.weights[-1] == {"v1": 100, "v2": 0}
    cluster.edit(*PLACE, {"spec": {"rollout": {"paused": False}}})
    cluster.until("Healthy")


def test_without_canary_steps_a_revision_takes_over_after_its_self_test() -> None:
    cluster = serving(slo=SLO)
    cluster.serve("v2")
    cluster.until("Healthy", most=10)
    cluster.tick(2)
    assert cluster.outcomes[-1] == ("v2", "Promoted", "NoCanary")
    assert cluster.weights[-2:] == [{"v1": 100, "v2": 0}, {"v2": 100}]


def test_pods_that_never_start_end_the_rollout_with_their_trouble() -> None:
    cluster = serving(**{**CANARY, "rollout": {**ROLLOUT, "progressDeadline": "60s"}})
    waiting = {"reason": "ImagePullBackOff", "message": "failed to pull: not found"}
    container = {"name": "triton", "image": "registry.test/triton:9", "state": {"waiting": waiting}}
    cluster.script["v2"] = Script(
        starts=False, pod_status={"phase": "Pending", "containerStatuses": [container]}
    )
    cluster.serve("v2")
    cluster.tick(10)
    revision = cluster.revision("v2")
    said = f"0 of 1 replicas of {revision} are ready. registry.test/triton:9: not found."
    assert cluster.condition("Ready") == ("False", "StartingReplicas", said)
    cluster.until("Degraded")
    assert cluster.condition("Ready") == (
        "False", "ProgressDeadlineExceeded", f"{revision} was not ready within 1m: {said}",
    )  # fmt: skip
    assert cluster.weights[-1] == {"v1": 100}


def test_another_wish_mid_trial_supersedes_it() -> None:
    cluster = serving()
    cluster.serve("v2")
    cluster.tick(20)
    cluster.serve("v3")
    cluster.until("Healthy")
    assert cluster.outcomes[1:] == [("v2", "Superseded", "Superseded"), ("v3", "Promoted", "AllPassed")]
    cluster.tick(10)
    assert cluster.replicas() == {"v3": 1}
    cluster.serve("v2")
    cluster.tick(20)
    assert cluster.weights[-1] == {"v3": 80, "v2": 20}, "superseded isn't rejected"


def test_the_old_wish_mid_trial_goes_back_without_a_word_against_the_canary() -> None:
    cluster = serving()
    cluster.serve("v2")
    cluster.tick(20)
    cluster.serve("v1")
    cluster.until("Healthy")
    assert cluster.weights[-1] == {"v1": 100}
    assert cluster.outcomes[-1] == ("v2", "Superseded", "Superseded")
    assert cluster.status["rollout"]["verdict"] == "Inconclusive"


def test_an_alias_is_followed_and_a_rejected_version_behind_it_stays_rejected() -> None:
    cluster = Serving()
    for version in ("v1", "v2", "v3"):
        cluster.add_version(version)
    cluster.script["v3"] = SLOW

    def point(version: str) -> None:
        state = {"name": "candidate", "modelVersionRef": {"name": version}}
        cluster.set_status("Model", NAMESPACE, "fashion-cnn", {"observedGeneration": 1, "aliases": [state]})

    model = make.model()
    model["status"] = {
        "observedGeneration": 1,
        "aliases": [{"name": "candidate", "message": "newest is v1 (Rejected)."}],
    }
    cluster.put(model)
    cluster.create({**make.model_deployment(spec=CANARY), "status": {}})
    cluster.settle()
    assert cluster.status["summary"] == (
        "Waiting: alias candidate of Model fashion-cnn points to no version yet; newest is v1 (Rejected)."
    )
    assert cluster.status["phase"] == "Pending"
    point("v1")
    cluster.until("Healthy")
    assert cluster.condition("InputsReady") == (
        "True",
        "Resolved",
        "candidate of Model fashion-cnn is v1, Ready.",
    )
    point("v3")
    cluster.until("Degraded")
    assert cluster.status["summary"].endswith(
        "Point candidate elsewhere, relax slo.latency, or: kubectl slipway retry fashion."
    )
    point("v3")
    cluster.restart()
    cluster.tick(30)
    assert cluster.status["phase"] == "Degraded"
    point("v2")
    cluster.tick(20)
    point("v1")
    cluster.until("Healthy")
    assert [outcome[:2] for outcome in cluster.outcomes] == [
        ("v1", "Promoted"), ("v3", "RolledBack"), ("v2", "Superseded"),
    ]  # fmt: skip


def test_pin_stays_and_unpin_goes_on() -> None:
    cluster = serving()
    cluster.ask("pin", cluster.revision("v1"))
    cluster.serve("v2")
    cluster.tick(20)
    assert cluster.weights[-1] == {"v1": 100}
    assert cluster.condition("InputsReady") == (
        "True", "Pinned", f"Pinned to {cluster.revision('v1')}, which serves v1.",
    )  # fmt: skip
    cluster.ask("pin", None)
    cluster.until("Progressing")
    cluster.until("Healthy")
    cluster.ask("pin", cluster.revision("v1"))
    cluster.until("Progressing")
    cluster.until("Healthy")
    assert cluster.weights[-1] == {"v1": 100}, "back to a kept revision, by the same rollout"
    cluster.ask("pin", "fashion-000000")
    cluster.tick(2)
    assert cluster.condition("InputsReady")[2].startswith(
        "Annotation slipway.dev/pin names fashion-000000, which is no revision of this deployment; there are: "
    )
    assert cluster.weights[-1] == {"v1": 100}


def test_other_tensors_are_refused() -> None:
    cluster = serving()
    signature = {**make.SIGNATURE, "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 784]}]}
    cluster.add_version("wide", spec={"signature": signature})
    cluster.serve("wide")
    cluster.tick(5)
    assert cluster.condition("InputsReady") == (
        "False",
        "SignatureChanged",
        "wide takes and gives pixels FP32 [-1, 784], logits FP32 [-1, 10]; v1, which serves, "
        "image UINT8 [-1, 28, 28], logits FP32 [-1, 10]. Serve it by a ModelDeployment of its own.",
    )
    assert (cluster.status["phase"], cluster.weights[-1]) == ("Degraded", {"v1": 100})


def test_a_fixed_batch_is_not_servable_and_says_what_to_set() -> None:
    cluster = Serving()
    signature = {**make.SIGNATURE, "inputs": [{"name": "image", "datatype": "UINT8", "shape": [4, 28, 28]}]}
    cluster.add_version("v1", spec={"signature": signature})
    cluster.deploy("v1")
    assert cluster.condition("InputsReady") == (
        "False",
        "InvalidSpec",
        "triton.maxBatchSize is 64, but image has shape [4, 28, 28]: its first dimension isn't a free batch (-1); "
        "set triton.maxBatchSize to 0",
    )


def test_an_upgrade_of_the_operator_rolls_nothing() -> None:
    cluster = serving()
    cluster.serve("v2")
    cluster.tick(20)
    cluster.upgrade(replace(PLATFORM, triton_image="registry.test/slipway/triton:2"))
    cluster.until("Healthy")
    assert cluster.outcomes[-1] == ("v2", "Promoted", "AllPassed")
    before = cluster.get("Deployment", NAMESPACE, cluster.revision("v2"))
    cluster.upgrade(replace(PLATFORM, triton_image="registry.test/slipway/triton:3", operator_image="new:3"))
    cluster.tick(20)
    assert cluster.get("Deployment", NAMESPACE, cluster.revision("v2")) == before
    cluster.serve("v3")
    cluster.until("Progressing")
    trial = cluster.get("Deployment", NAMESPACE, cluster.revision("v3"))["spec"]["template"]["spec"]
    assert trial["containers"][0]["image"] == "registry.test/slipway/triton:3"


def test_a_rejected_revision_stays_rejected_over_an_upgrade() -> None:
    cluster = rolled_back()
    cluster.upgrade(replace(PLATFORM, triton_image="registry.test/slipway/triton:2"))
    cluster.tick(20)
    assert (cluster.status["phase"], cluster.weights[-1]) == ("Degraded", {"v1": 100})


def test_old_capacity_goes_only_after_every_router_left_it_and_a_drain() -> None:
    cluster = serving()
    cluster.routers.delay = 10
    cluster.serve("v2")
    cluster.tick(1)
    cluster.ask("promote")
    while cluster.weights[-1] != {"v2": 100}:
        cluster.tick()
    gone = 0
    while "v1" in cluster.replicas():
        cluster.tick()
        gone += 1
    assert 15 <= gone <= 18, "10 s until the routers have it, 5 s of drain"


def test_without_routers_nothing_that_served_goes() -> None:
    cluster = serving()
    cluster.serve("v2")
    cluster.tick(10)
    cluster.ask("promote")
    cluster.settle()
    cluster.routers.names = ()
    cluster.tick(60)
    assert set(cluster.replicas()) == {"v1", "v2"}


def test_shares_that_differ_void_the_comparison() -> None:
    cluster = serving()
    cluster.routers.skew = 2.0
    cluster.serve("v2")
    cluster.until("Paused")
    assert cluster.condition("TrafficVerified")[:2] == ("False", "SharesDiffer")
    assert "Canary gets 40.0 % of the requests, 20 % are asked for" in cluster.status["summary"]


def test_an_external_scaler_sets_the_size_and_stable_never_shrinks_on_trial() -> None:
    cluster = serving(**CANARY, autoscaling={"maxReplicas": 5, "scaler": "External"})
    assert cluster.condition("ScalingActive")[:2] == ("True", "ExternalScaler")
    cluster.edit(*PLACE, {"spec": {"replicas": 3}})
    cluster.tick(3)
    assert (cluster.replicas(), cluster.status["replicas"]) == ({"v1": 3}, 3)
    assert cluster.status["selector"] == f"slipway.dev/revision={cluster.revision('v1')}"
    cluster.serve("v2")
    cluster.tick(20)
    cluster.edit(*PLACE, {"spec": {"replicas": 2}})
    cluster.tick(3)
    assert cluster.replicas() == {"v1": 3, "v2": 1}
    cluster.until("Healthy")
    cluster.tick(10)
    assert cluster.replicas() == {"v2": 2}


def test_replicas_follow_the_load_up_and_down() -> None:
    cluster = serving(slo=SLO, autoscaling={"minReplicas": 1, "maxReplicas": 3, "scaleDownWindow": "60s"})
    cluster.tick(40)
    assert cluster.replicas() == {"v1": 1}
    # A median of about 2 ms gives some 300 requests/s a replica at first.
    cluster.routers.requests_per_s = 800
    cluster.tick(90)
    assert cluster.replicas() == {"v1": 3}
    assert cluster.status["autoscaling"]["desiredReplicas"] == 3
    cluster.routers.requests_per_s = 30
    cluster.tick(180)
    assert cluster.replicas() == {"v1": 1}
    cluster.routers.requests_per_s = 0
    cluster.tick(90)
    assert cluster.replicas() == {"v1": 1}


def test_figures_that_are_missing_never_shrink_anything() -> None:
    cluster = serving(slo=SLO, autoscaling={"minReplicas": 1, "maxReplicas": 3, "scaleDownWindow": "60s"})
    cluster.routers.requests_per_s = 800
    cluster.tick(90)
    cluster.routers.names = ()
    cluster.tick(200)
    assert cluster.replicas() == {"v1": 3}
    assert cluster.condition("ScalingActive")[:2] == ("Unknown", "NoMetrics")
    assert cluster.condition("Ready")[0] == "True", "routers go on with what they have"


def test_an_object_at_rest_causes_no_writes() -> None:
    cluster = serving(**CANARY, autoscaling={"minReplicas": 1, "maxReplicas": 3})
    cluster.tick(90)
    before = cluster.connection.writes
    for second in range(600):
        cluster.routers.requests_per_s = 120 + (-3, 1, 4, -2, 0)[second % 5]
        cluster.script["v1"] = Script(slow=0.008 + 0.002 * (second % 3 - 1), errors=0.001 * (second % 2))
        cluster.tick()
    assert cluster.connection.writes == before
    assert_at_rest(cluster)


def test_a_rejected_one_at_rest_causes_no_writes() -> None:
    cluster = rolled_back()
    cluster.tick(90)
    before = cluster.connection.writes
    cluster.tick(300)
    assert cluster.connection.writes == before


def test_a_removed_record_on_trial_is_made_again() -> None:
    cluster = serving()
    cluster.serve("v2")
    cluster.tick(20)
    cluster.delete("ControllerRevision", NAMESPACE, cluster.revision("v2"))
    cluster.until("Healthy")
    assert cluster.weights[-1] == {"v2": 100}


def test_deletion_writes_nothing() -> None:
    cluster = serving()
    world = cluster.world()
    metadata = world.deployment.metadata.model_copy(update={"deletion_timestamp": world.now})
    assert (
        decide(replace(world, deployment=world.deployment.model_copy(update={"metadata": metadata})))
        == Decision()
    )


def test_old_records_are_kept_to_go_back_to_and_the_oldest_go() -> None:
    cluster = serving(slo=SLO)
    for number in range(14):
        cluster.add_version(f"w{number}")
        cluster.serve(f"w{number}")
        cluster.until("Healthy", most=20)
        cluster.tick(8)
    names = {r["data"]["model"]["name"] for r in cluster.list("ControllerRevision")}
    assert names == {f"w{number}" for number in range(3, 14)}
    assert len(cluster.status["history"]) == 10


def test_steps_without_analysis_are_taken_as_soon_as_every_router_has_them() -> None:
    cluster = serving(rollout=ROLLOUT)
    cluster.serve("v2")
    cluster.until("Healthy", most=20)
    assert [s["verdict"] for s in cluster.status["rollout"]["steps"]] == ["Pass", "Pass"]
