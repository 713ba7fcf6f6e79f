"""Several nodes that train together: found, failing and going on as one."""

import make
from slipway.contract.config import JobConfig
from slipway.decision import Decision

RUN = make.training_run(spec={"trainer": {"numNodes": 2}})
DATA = make.ready_dataset()
NAME = "fashion-cnn-v1"


def begun() -> make.Manifest:
    return make.after(RUN, make.decide(RUN, DATA))


def summary(decision: Decision) -> str:
    assert decision.status is not None
    return str(decision.status["summary"])


def the_job(**rest: object) -> make.Manifest:
    return make.job(RUN, f"{NAME}-1", pods=2, **rest)  # type: ignore[arg-type]  # handed on as they are


def failed_job() -> make.Manifest:
    return the_job(ended="Failed", reason="BackoffLimitExceeded")


def lost(node: int) -> str:
    return make.failure_report("train", "CommunicationLost", f"Lost node {node}.", 14)


def test_the_service_is_there_before_the_pods_that_need_it() -> None:
    service, orders, job = make.decide(RUN, DATA).create
    assert make.kinds_of((service, orders, job)) == [
        f"Service {NAME}-1",
        f"ConfigMap {NAME}-1",
        f"Job {NAME}-1",
    ]
    task = JobConfig.model_validate_json(orders["data"]["job.json"]).task.model_dump()
    assert (task["num_nodes"], task["num_proc_per_node"]) == (2, 1)
    assert task["hyperparameters"]["batch_size"] == 256  # over both
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["metadata"]["ownerReferences"][0]["uid"] == RUN["metadata"]["uid"]


def test_a_node_waits_for_the_others_longer_than_the_start_deadline() -> None:
    """So that the run ends with the scheduler's words, not with torchrun's."""
    run = make.training_run(spec={"trainer": {"numNodes": 2}, "startDeadline": "1h"})
    job = make.decide(run, DATA).create[-1]
    (main,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": "PET_RDZV_CONF", "value": "timeout=3720"} in main["env"]


def test_it_has_started_when_all_its_pods_have() -> None:
    job = the_job()
    first = make.running_pod(job, index=0)
    waits = make.decide(begun(), DATA, job, first, now=make.at(60))
    assert summary(waits) == "Waiting for its 2 pods to start, 1 of 2 run."
    assert make.told(waits, "Trained")[1] == "Starting"
    both = make.decide(begun(), DATA, job, first, make.running_pod(job, index=1), now=make.at(60))
    assert make.told(both, "Trained")[1] == "Training"


def test_one_node_that_nobody_takes_ends_the_run_at_the_start_deadline() -> None:
    job = the_job()
    pods = [
        make.running_pod(job, index=0),
        make.unschedulable_pod(job, "0/3 nodes are available: 3 Insufficient cpu.", index=1),
    ]
    decision = make.decide(begun(), DATA, job, *pods, now=make.at(600))
    assert summary(decision).startswith("No node takes the pod: 0/3 nodes are available: 3 Insufficient cpu.")
    assert decision.status is not None
    assert decision.status["phase"] == "Failed"


def test_the_first_node_to_fail_is_the_cause_not_those_that_lost_it() -> None:
    run = make.merged(begun(), {"spec": {"failurePolicy": {"maxRestarts": 0}}})
    job = failed_job()
    pods = [
        make.ended_pod(job, lost(1), 14, index=0, finished=make.at(50)),
        make.ended_pod(job, exit_code=137, reason="OOMKilled", index=1, finished=make.at(55)),
    ]
    decision = make.decide(run, DATA, job, *pods, now=make.at(60))
    assert summary(decision).startswith("Out of memory on node 1 in attempt 1 of 1")


def test_what_the_end_of_the_others_did_to_a_node_is_not_the_cause() -> None:
    """The Job controller ends the others by SIGTERM; they save and leave."""
    job = failed_job()
    stopped = make.failure_report("train", "Stopped", "Stopped at step 9 of 21.", 13)
    nan = make.failure_report("train", "LossNotFinite", "The loss is nan at step 9.", 10)
    pods = [
        make.ended_pod(job, stopped, 13, index=0, finished=make.at(52)),
        make.ended_pod(job, nan, 10, index=1, finished=make.at(50)),
    ]
    decision = make.decide(begun(), DATA, job, *pods, now=make.at(60))
    assert summary(decision) == "The loss is nan at step 9 in attempt 1."
    assert decision.status is not None
    assert decision.status["failure"]["node"] == 1


def test_the_next_attempt_waits_until_every_pod_of_the_last_is_gone() -> None:
    """Two gangs at once would write the same checkpoints."""
    job = failed_job()
    dead = make.ended_pod(job, exit_code=137, reason="OOMKilled", index=1, finished=make.at(50))
    ending = make.merged(
        make.running_pod(job, index=0), {"metadata": {"deletionTimestamp": make.stamp(make.at(51))}}
    )
    decision = make.decide(begun(), DATA, job, dead, ending, now=make.at(90))
    assert decision.create == ()
    after = make.decide(begun(), DATA, job, dead, now=make.at(90))
    assert make.kinds_of(after.create) == [f"Service {NAME}-2", f"ConfigMap {NAME}-2", f"Job {NAME}-2"]


def test_only_the_report_of_node_0_counts() -> None:
    job = the_job(ended="Complete", finished=make.at(46))
    done = '{"task": "train", "outcome": "Succeeded", "attempt": 1}'
    other = make.ended_pod(job, done, index=1)
    decision = make.decide(
        begun(), DATA, job, other, make.ended_pod(job, make.train_report()), now=make.at(46)
    )
    assert make.kinds_of(decision.create) == [f"ModelVersion {NAME}"]
    # Somebody deleted the pod of node 0: that of another node doesn't stand in for it.
    gone = make.decide(begun(), DATA, job, other, now=make.at(46))
    assert summary(gone) == "The pod and its report are gone, tried once; next try in 5s."
