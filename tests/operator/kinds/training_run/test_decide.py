import pytest

import make
from slipway.contract.config import JobConfig
from slipway.contract.report import Checkpoint, Progress
from slipway.decision import Decision

RUN = make.training_run()
DATA = make.ready_dataset()
NAME = "fashion-cnn-v1"
UID = RUN["metadata"]["uid"]
DIGEST = make.DATASET_DIGEST


def begun(run: make.Manifest = RUN) -> make.Manifest:
    """The run after the pass that made its first Job."""
    return make.after(run, make.decide(run, DATA))


def summary(decision: Decision) -> str:
    assert decision.status is not None
    return str(decision.status["summary"])


def phase(decision: Decision) -> str:
    assert decision.status is not None
    return str(decision.status["phase"])


def progress(step: int = 258, seconds: float = 44, attempt: int = 1) -> dict[str, Progress]:
    told = Progress(
        percent=round(100 * step / 422),
        step=step,
        total_steps=422,
        epoch=2,
        epochs=2,
        remaining_seconds=22,
        metrics={"train_loss": 0.3412, "validation_accuracy": 0.8871},
        checkpoint=Checkpoint(
            step=211, storage_uri="s3://slipway/demo/runs/x/211/", time="2026-11-24T10:00:38Z"
        ),
        attempt=attempt,
        time=make.stamp(make.at(seconds)),
    )
    return {UID: told}


# --- before it starts ---


def test_a_missing_dataset_is_waited_for_by_name_with_the_closest_one() -> None:
    run = make.training_run(spec={"datasetRef": {"name": "fashon-mnist"}})
    decision = make.decide(run, DATA)
    assert make.told(decision, "InputsReady") == (
        "False",
        "DatasetNotFound",
        "Waiting for Dataset fashon-mnist. There is a Dataset fashion-mnist.",
    )
    assert phase(decision) == "Pending"
    assert make.told(decision, "Reconciling")[0] == "True"
    assert decision.create == ()


def test_a_dataset_that_is_not_ready_is_waited_for() -> None:
    decision = make.decide(RUN, make.dataset(status={"observedGeneration": 1, "phase": "Running"}))
    assert make.told(decision, "InputsReady") == (
        "False",
        "DatasetNotReady",
        "Waiting for Dataset fashion-mnist to be Ready; it is Running.",
    )


def test_a_dataset_whose_new_spec_is_not_prepared_yet_is_waited_for() -> None:
    decision = make.decide(RUN, make.ready_dataset(generation=2))
    assert make.told(decision, "InputsReady")[1] == "DatasetNotReady"


def test_a_rejected_dataset_is_never_trained_on() -> None:
    status = {
        "observedGeneration": 1,
        "phase": "Rejected",
        "conditions": [make.condition("Ready", "False", "GateMissed", "rows 50,000, min 60,000.")],
    }
    assert make.told(make.decide(RUN, make.dataset(status=status)), "InputsReady") == (
        "False",
        "DatasetUnusable",
        "Dataset fashion-mnist is Rejected: rows 50,000, min 60,000.",
    )


def test_a_pinned_digest_that_the_dataset_does_not_have_is_said() -> None:
    run = make.training_run(spec={"datasetRef": {"name": "fashion-mnist", "digest": make.SMALL_DIGEST}})
    assert make.told(make.decide(run, DATA), "InputsReady") == (
        "False",
        "DigestNotFound",
        "datasetRef pins sha256:92a385b1f2e1, Dataset fashion-mnist has sha256:b277fd623676: pin that one, or none.",
    )


def test_a_taken_version_name_ends_the_run_before_any_pod() -> None:
    decision = make.decide(RUN, DATA, make.model_version(producer="CompressionJob"))
    assert make.told(decision, "Succeeded") == (
        "False",
        "VersionExists",
        "ModelVersion fashion-cnn-v1 exists with digest sha256:3bfc269594ef; give this run another name.",
    )
    assert phase(decision) == "Failed"
    assert decision.create == ()


def test_a_ready_dataset_starts_the_first_attempt_with_all_it_needs() -> None:
    decision = make.decide(RUN, DATA)
    assert make.kinds_of(decision.create) == [f"ConfigMap {NAME}-1", f"Job {NAME}-1"]
    task = JobConfig.model_validate_json(decision.create[0]["data"]["job.json"]).task
    orders = task.model_dump(by_alias=True, exclude_none=True)
    assert orders["dataset"] == {
        "name": "fashion-mnist",
        "digest": DIGEST,
        "storageUri": "s3://slipway/demo/datasets/fashion-mnist/b277fd623676/",
        "augmentation": [{"randomHorizontalFlip": {"probability": 0.5}}],
    }
    assert orders["model"] == {"resnet": {"width": 32, "blocks": [1, 1, 1]}}
    assert orders["hyperparameters"]["learningRate"] == 0.2
    assert orders["checkpointIntervalSeconds"] == 15
    assert orders["outputUri"] == "store://models/fashion-cnn-v1/"
    assert orders["progress"]["url"] == make.PLATFORM.progress_url
    container = decision.create[1]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == make.PLATFORM.jobs_image
    assert container["args"] == ["train"]
    assert decision.status is not None
    assert decision.status["inputs"] == {"dataset": {"name": "fashion-mnist", "digest": DIGEST}}
    assert decision.status["attempt"] == 1
    assert [event.reason for event in decision.events] == ["Starting"]


def test_a_run_made_anew_under_its_name_does_not_go_on_from_the_old_checkpoints() -> None:
    def checkpoints(uid: str) -> str:
        run = make.training_run(uid=uid)
        task = JobConfig.model_validate_json(make.decide(run, DATA).create[0]["data"]["job.json"]).task
        return str(task.model_dump()["checkpoint_uri"])

    assert checkpoints("aaaaaaaa-1") != checkpoints("bbbbbbbb-1")


def test_each_gpu_of_a_node_gets_a_process() -> None:
    run = make.training_run(spec={"trainer": {"resourcesPerNode": {"limits": {"nvidia.com/gpu": "2"}}}})
    task = JobConfig.model_validate_json(make.decide(run, DATA).create[0]["data"]["job.json"]).task
    assert task.model_dump()["num_proc_per_node"] == 2


def test_a_run_that_is_suspended_from_the_start_makes_no_job() -> None:
    decision = make.decide(make.training_run(spec={"suspend": True}), DATA)
    assert (phase(decision), decision.create) == ("Suspended", ())
    assert summary(decision) == "Suspended; set suspend: false to begin."


# --- pods that can't start ---


def test_an_image_that_is_not_there_counts_down_to_the_start_deadline() -> None:
    job = make.job(RUN, f"{NAME}-1")
    image = "registry.example.com/team/fashion@sha256:b298"
    pod = make.waiting_pod(job, "ImagePullBackOff", f'Back-off pulling image "{image}": not found', image)
    decision = make.decide(begun(), DATA, job, pod, now=make.at(180))
    assert make.told(decision, "Trained") == (
        "False",
        "ImageUnavailable",
        f"{image}: not found. startDeadline ends the run in 7m.",
    )
    assert [event.reason for event in decision.events] == ["ImageUnavailable"]
    assert decision.again_in == 60
    again = make.decide(make.after(begun(), decision), DATA, job, pod, now=make.at(185))
    assert again.events == ()


def test_a_pod_that_no_node_takes_ends_the_run_at_the_start_deadline() -> None:
    job = make.job(RUN, f"{NAME}-1")
    pod = make.unschedulable_pod(job, "0/3 nodes are available: 3 Insufficient memory.")
    decision = make.decide(begun(), DATA, job, pod, now=make.at(600))
    assert phase(decision) == "Failed"
    assert summary(decision) == (
        "No node takes the pod: 0/3 nodes are available: 3 Insufficient memory. The pods did not start within"
        " startDeadline (10m). Repair that and create a new run."
    )
    assert decision.status is not None
    assert decision.status["failure"]["class"] == "Scheduling"
    assert decision.status["result"] == "Scheduling"


def test_the_job_of_a_run_that_ended_is_stopped_in_the_next_pass() -> None:
    job = make.job(RUN, f"{NAME}-1")
    failed = make.after(RUN, make.decide(begun(), DATA, job, now=make.at(600)))
    decision = make.decide(failed, DATA, job, now=make.at(600))
    assert [target.name for target in decision.delete] == [f"{NAME}-1"]


def test_the_start_deadline_does_not_count_while_a_queue_holds_the_job() -> None:
    run = make.training_run(labels={"kueue.x-k8s.io/queue-name": "team-a"})
    job = make.job(run, f"{NAME}-1", suspend=True, queue="team-a")
    decision = make.decide(begun(run), DATA, job, now=make.at(6000))
    assert phase(decision) == "Pending"
    assert summary(decision) == "Waiting for queue team-a to admit it."


# --- at work ---


def test_progress_is_told_as_the_api_shows_it() -> None:
    job = make.job(RUN, f"{NAME}-1")
    decision = make.decide(begun(), DATA, job, make.running_pod(job), now=make.at(44), progress=progress())
    assert summary(decision) == "Epoch 2 of 2, 61 %, about 22s left; validation accuracy 0.8871."
    assert decision.status is not None
    assert decision.status["result"] == "accuracy 0.8871"
    assert decision.status["progress"] == {
        "percent": 61,
        "step": 258,
        "totalSteps": 422,
        "remaining": "22s",
        "metrics": {"train_loss": 0.3412, "validation_accuracy": 0.8871},
        "lastUpdateTime": "2026-11-24T10:00:44Z",
    }
    assert decision.status["checkpoint"]["step"] == 211
    assert make.told(decision, "Trained") == ("False", "Training", "Step 258 of 422.")
    assert make.told(decision, "Reconciling") == ("True", "Training", "Step 258 of 422.")


def test_progress_is_written_every_15_seconds_at_most() -> None:
    job = make.job(RUN, f"{NAME}-1")
    pod = make.running_pod(job)
    first = make.decide(begun(), DATA, job, pod, now=make.at(44), progress=progress())
    told = make.after(RUN, first)
    soon = make.decide(told, DATA, job, pod, now=make.at(50), progress=progress(290, 50))
    assert soon.status == first.status
    assert soon.again_in == 9
    later = make.decide(told, DATA, job, pod, now=make.at(59), progress=progress(300, 59))
    assert later.status is not None
    assert later.status["progress"]["step"] == 300


def test_an_operator_that_lost_the_progress_keeps_what_it_wrote() -> None:
    job = make.job(RUN, f"{NAME}-1")
    pod = make.running_pod(job)
    first = make.decide(begun(), DATA, job, pod, now=make.at(44), progress=progress())
    again = make.decide(make.after(RUN, first), DATA, job, pod, now=make.at(50))
    assert again.status == first.status


def test_suspending_patches_the_job_and_counts_the_active_time() -> None:
    job = make.job(RUN, f"{NAME}-1")
    run = make.merged(
        make.after(RUN, running(job)), {"spec": {"suspend": True}, "metadata": {"generation": 2}}
    )
    decision = make.decide(run, DATA, job, make.running_pod(job), now=make.at(90))
    assert [(patch.target.name, patch.body) for patch in decision.patch] == [
        (f"{NAME}-1", {"spec": {"suspend": True}})
    ]
    assert phase(decision) == "Suspended"
    assert summary(decision) == "Suspended; goes on from its last checkpoint when suspend is false."
    assert decision.status is not None
    assert decision.status["activeTime"] == "1m30s"
    held = make.job(RUN, f"{NAME}-1", suspend=True)
    rest = make.decide(make.after(run, decision), DATA, held, now=make.at(5000))
    assert rest.status == decision.status
    assert rest.patch == ()


def test_resuming_goes_on_with_the_time_that_is_left() -> None:
    status = {**running(make.job(RUN, f"{NAME}-1")).status, "phase": "Suspended", "activeTime": "29m"}  # type: ignore[dict-item]  # a status is there
    resumed = make.job(RUN, f"{NAME}-1", admitted=make.at(9000))
    decision = make.decide(
        {**RUN, "status": status}, DATA, resumed, make.running_pod(resumed), now=make.at(9030)
    )
    assert phase(decision) == "Running"
    assert decision.again_in == 30
    over = make.decide({**RUN, "status": status}, DATA, resumed, make.running_pod(resumed), now=make.at(9060))
    assert summary(over) == (
        "Active for 30m, activeDeadline is 30m. Train fewer epochs, or give a new run more time."
    )
    assert phase(over) == "Failed"


def test_resuming_after_a_long_time_starts_the_start_deadline_anew() -> None:
    held = make.job(RUN, f"{NAME}-1", suspend=True)
    status = {**begun()["status"], "phase": "Suspended"}
    decision = make.decide({**RUN, "status": status}, DATA, held, now=make.at(90000))
    assert [patch.body for patch in decision.patch] == [{"spec": {"suspend": False}}]
    assert phase(decision) == "Running"
    assert decision.again_in == 600


def test_a_job_of_a_queue_is_never_patched() -> None:
    run = make.training_run(labels={"kueue.x-k8s.io/queue-name": "team-a"}, spec={"suspend": True})
    job = make.job(run, f"{NAME}-1", suspend=True, queue="team-a")
    run = {**run, "status": {"observedGeneration": 1, "phase": "Pending", "attempt": 1}}
    decision = make.decide(run, DATA, job)
    assert decision.patch == ()
    assert "the queue decides when it runs" in summary(decision)


def running(job: make.Manifest) -> Decision:
    return make.decide(begun(), DATA, job, make.running_pod(job), now=make.at(1))


# --- attempts that fail ---


def attempts(
    count: int, report: str = "", code: int = 137, reason: str | None = "OOMKilled"
) -> list[make.Manifest]:
    return [
        manifest
        for number in range(1, count + 1)
        for manifest in make.failed(
            RUN,
            f"{NAME}-{number}",
            report,
            code,
            pod_reason=reason,
            attempt=number,
            finished=make.at(number * 60),
        )
    ]


def test_an_attempt_that_ran_out_of_memory_is_followed_by_another_after_a_delay() -> None:
    decision = make.decide(begun(), DATA, *attempts(1), now=make.at(60))
    assert summary(decision) == "Out of memory on node 0, tried once; next try in 5s."
    assert make.told(decision, "Trained")[1] == "Restarting"
    assert decision.status is not None
    assert decision.status["failure"]["class"] == "OutOfMemory"
    assert decision.again_in == 5
    later = make.decide(make.after(RUN, decision), DATA, *attempts(1), now=make.at(65))
    assert make.kinds_of(later.create)[-1] == f"Job {NAME}-2"
    assert later.status is not None
    assert later.status["attempt"] == 2
    assert later.status["restarts"] == 1


def test_the_last_attempt_names_the_cause_the_limit_and_what_to_change() -> None:
    decision = make.decide(begun(), DATA, *attempts(4), now=make.at(240))
    assert summary(decision) == (
        "Out of memory on node 0 in attempt 4 of 4 (limit 2Gi). Raise trainer.resourcesPerNode.limits.memory, or"
        " lower hyperparameters.batchSize (256)."
    )
    assert decision.status is not None
    assert decision.status["failure"] == {
        "class": "OutOfMemory",
        "node": 0,
        "exitCode": 137,
        "time": "2026-11-24T10:04:00Z",
    }
    assert phase(decision) == "Failed"
    assert make.told(decision, "Stalled")[:2] == ("True", "OutOfMemory")


def test_each_failed_attempt_is_told_once() -> None:
    first = make.decide(begun(), DATA, *attempts(1), now=make.at(60))
    assert [event.message for event in first.events] == ["Attempt 1: Out of memory on node 0"]
    told = make.after(RUN, first)
    assert make.decide(told, DATA, *attempts(1), now=make.at(62)).events == ()
    second = make.decide(told, DATA, *attempts(2), now=make.at(121))
    assert [event.message for event in second.events] == ["Attempt 2: Out of memory on node 0"]


def test_the_active_time_of_an_attempt_counts_in_the_next() -> None:
    job = make.job(RUN, f"{NAME}-1", ended="Failed", reason="BackoffLimitExceeded", finished=make.at(60))
    moved = make.decide(begun(), DATA, job, now=make.at(70))
    assert moved.status is not None
    assert (moved.status["attempt"], moved.status["activeTime"]) == (2, "1m")
    second = make.job(RUN, f"{NAME}-2", attempt=2, created=make.at(70), admitted=make.at(70))
    pod = make.running_pod(second)
    seen = make.decide(make.after(RUN, moved), DATA, job, second, pod, now=make.at(80))
    assert seen.again_in == 30 * 60 - 60 - 10
    # The same where the status of the pass that made the second attempt was never written.
    assert make.decide(begun(), DATA, job, second, pod, now=make.at(80)).again_in == seen.again_in


def test_restarts_that_status_remembers_count_although_their_jobs_are_gone() -> None:
    run = begun()
    run["status"] |= {"restarts": 4, "attempt": 4}
    last = make.failed(RUN, f"{NAME}-4", exit_code=137, pod_reason="OOMKilled", attempt=4)
    assert phase(make.decide(run, DATA, *last, now=make.at(9999))) == "Failed"


@pytest.mark.parametrize(
    ("reason", "code", "class_"), [("InvalidConfig", 10, "UserError"), ("SourceUnreadable", 11, "Data")]
)
def test_an_error_of_the_user_or_the_data_ends_the_run_at_once(reason: str, code: int, class_: str) -> None:
    report = make.failure_report(
        "train", reason, "width is 0; it must be at least 1.", code, logTail="step 1"
    )
    decision = make.decide(begun(), DATA, *attempts(1, report, code, None), now=make.at(60))
    assert phase(decision) == "Failed"
    assert decision.status is not None
    assert decision.status["failure"]["class"] == class_
    assert decision.status["failure"]["logTail"] == "step 1"
    assert summary(decision) == "width is 0; it must be at least 1 in attempt 1."


def test_preemption_goes_on_at_once_and_does_not_count() -> None:
    job = make.job(RUN, f"{NAME}-1", ended="Failed", reason="BackoffLimitExceeded")
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    pod = make.ended_pod(job, exit_code=143, conditions=[disrupted])
    decision = make.decide(begun(), DATA, job, pod, now=make.at(60))
    assert make.kinds_of(decision.create)[-1] == f"Job {NAME}-2"
    assert decision.status is not None
    assert "restarts" not in decision.status


def test_a_node_that_took_its_pod_along_does_not_count() -> None:
    job = make.job(RUN, f"{NAME}-1", ended="Failed", reason="BackoffLimitExceeded")
    decision = make.decide(begun(), DATA, job, now=make.at(60))
    assert make.kinds_of(decision.create)[-1] == f"Job {NAME}-2"


def test_a_next_attempt_has_the_inputs_and_the_image_of_the_first() -> None:
    first = make.decide(RUN, DATA)
    moved = make.ready_dataset(digest=make.SMALL_DIGEST)
    orders = {
        **first.create[0],
        "metadata": {**first.create[0]["metadata"], "uid": "c", "resourceVersion": "1"},
    }
    decision = make.decide(make.after(RUN, first), moved, orders, *attempts(1), now=make.at(65))
    task = JobConfig.model_validate_json(decision.create[0]["data"]["job.json"]).task
    assert task.model_dump()["dataset"]["digest"] == DIGEST
    assert (
        decision.create[1]["spec"]["template"]["spec"]["containers"][0]["image"]
        == "registry.test/slipway/jobs:1"
    )


def test_a_killed_training_process_is_tried_again_and_counts() -> None:
    report = make.failure_report("train", "WorkerKilled", "A training process was ended by SIGKILL.", 70)
    decision = make.decide(begun(), DATA, *attempts(1, report, 70, None), now=make.at(60))
    assert summary(decision) == "A training process was ended by SIGKILL, tried once; next try in 5s."
    assert decision.status is not None
    assert decision.status["failure"]["class"] == "Internal"
    assert (decision.status["restarts"], decision.again_in) == (1, 5)
    later = make.decide(make.after(RUN, decision), DATA, *attempts(1, report, 70, None), now=make.at(65))
    assert make.kinds_of(later.create)[-1] == f"Job {NAME}-2"
    last = make.decide(begun(), DATA, *attempts(4, report, 70, None), now=make.at(240))
    assert phase(last) == "Failed"


def test_a_killed_container_without_a_report_is_tried_again_and_counts() -> None:
    decision = make.decide(begun(), DATA, *attempts(1, "", 137, "Error"), now=make.at(60))
    assert summary(decision).startswith("Ended on node 0 by signal 9 before it could report, tried once")
    assert decision.status is not None
    assert (decision.status["failure"]["class"], decision.status["restarts"]) == ("Internal", 1)


def test_a_run_at_work_whose_pod_is_gone_is_not_said_to_have_never_started() -> None:
    """The pod's end is known here, that of its Job not yet; startDeadline is long over."""
    job = make.job(RUN, f"{NAME}-1")
    told = make.after(RUN, running(job))
    decision = make.decide(told, DATA, job, now=make.at(700))
    assert phase(decision) == "Running"


def test_a_lost_store_is_tried_again_without_end() -> None:
    report = make.failure_report("train", "StoreUnreachable", "Can't reach http://store:8333 (timeout).", 12)
    run = make.merged(begun(), {"spec": {"activeDeadline": None}})
    decision = make.decide(run, DATA, *attempts(9, report, 12, None), now=make.at(540))
    assert summary(decision) == "Can't reach http://store:8333 (timeout), tried 9 times; next try in 5m."


# --- the result ---


def done(report: str = "", run: make.Manifest = RUN) -> list[make.Manifest]:
    return make.succeeded(run, f"{NAME}-1", report or make.train_report(), finished=make.at(46))


def made(decision: Decision) -> make.Manifest:
    """The version that a decision creates, as the API server returns it."""
    version = decision.create[0]
    return make.merged(
        version,
        {"metadata": {"uid": "v", "resourceVersion": "1", "creationTimestamp": make.stamp(make.at(46))}},
    )


def test_a_result_is_registered_first_and_the_run_ends_when_that_is_seen() -> None:
    decision = make.decide(begun(), DATA, *done(), now=make.at(46))
    assert make.kinds_of(decision.create) == ["ModelVersion fashion-cnn-v1"]
    assert phase(decision) == "Running"
    ended = make.decide(make.after(RUN, decision), DATA, *done(), made(decision), now=make.at(46))
    assert ended.create == ()
    assert phase(ended) == "Succeeded"
    assert summary(ended) == (
        "Trained in 46s; accuracy 0.9060 (min 0.90) and worst recall 0.712, Shirt (min 0.50), pass; registered as"
        " ModelVersion fashion-cnn-v1."
    )
    assert make.told(ended, "Trained") == ("True", "Finished", "422 steps in 46s, 1 attempt.")
    assert make.told(ended, "GatesPassed") == ("True", "AllPassed", "2 of 2 gates passed.")
    assert make.told(ended, "Succeeded") == ("True", "Registered", "ModelVersion fashion-cnn-v1.")
    assert make.told(ended, "Stalled") == ("False", "Registered", "")
    assert ended.status is not None
    assert ended.status["result"] == "accuracy 0.9060"
    assert ended.status["modelVersionRef"] == {"name": "fashion-cnn-v1"}
    assert ended.status["gates"][1]["class"] == "Shirt"
    assert ended.status["progress"]["percent"] == 100


def test_the_version_says_all_facts_of_its_birth_and_has_no_owner() -> None:
    version = make.decide(begun(), DATA, *done(), now=make.at(46)).create[0]
    assert "ownerReferences" not in version["metadata"]
    assert version["metadata"]["labels"] == {
        "slipway.dev/model": "fashion-cnn",
        "slipway.dev/producer": "TrainingRun",
    }
    spec = version["spec"]
    assert spec["modelRef"] == {"name": "fashion-cnn"}
    assert spec["digest"] == make.MODEL_DIGEST
    assert spec["signature"] == make.SIGNATURE
    assert spec["evaluation"]["dataset"] == {"name": "fashion-mnist", "digest": DIGEST, "split": "test"}
    assert [row["verdict"] for row in spec["gates"]] == ["Pass", "Pass"]
    assert spec["lineage"]["producer"] == {"kind": "TrainingRun", "name": NAME, "uid": UID}
    assert spec["lineage"]["dataset"] == {"name": "fashion-mnist", "digest": DIGEST}
    assert spec["lineage"]["image"] == "registry.test/slipway/jobs:1"
    assert spec["lineage"]["parameters"]["model.resnet"] == "width 32 blocks 1,1,1"


def test_a_missed_gate_is_a_rejected_run_with_a_version_all_the_same() -> None:
    job = done(make.train_report(accuracy=0.8712))
    decision = make.decide(begun(), DATA, *job, now=make.at(46))
    ended = make.decide(make.after(RUN, decision), DATA, *job, made(decision), now=make.at(46))
    assert phase(ended) == "Rejected"
    assert make.told(ended, "Succeeded") == ("False", "GateMissed", "accuracy 0.8712, min 0.90.")
    assert make.told(ended, "Stalled") == ("True", "GateMissed", "accuracy 0.8712, min 0.90.")
    assert summary(ended) == (
        "Trained in 46s; accuracy 0.8712 is under 0.90 (interval 0.8653 to 0.8768, 10,000 samples); registered as"
        " ModelVersion fashion-cnn-v1, Rejected: it is never served."
    )


def test_a_figure_that_was_not_measured_opens_no_gate() -> None:
    job = done(make.train_report(measurements=[]))
    decision = make.decide(begun(), DATA, *job, now=make.at(46))
    assert [row["verdict"] for row in decision.create[0]["spec"]["gates"]] == ["NoData", "NoData"]
    assert make.told(decision, "GatesPassed")[0] == "False"


def test_a_success_without_a_report_is_tried_again_as_a_fault_of_ours() -> None:
    job = make.job(RUN, f"{NAME}-1", ended="Complete", finished=make.at(46))
    decision = make.decide(begun(), DATA, job, make.ended_pod(job, "not json"), now=make.at(46))
    assert summary(decision) == "The pod ended without a report, tried once; next try in 5s."


def test_a_job_that_ended_before_its_pod_was_seen_to_end_is_waited_for() -> None:
    job = make.job(RUN, f"{NAME}-1", ended="Complete", finished=make.at(46))
    decision = make.decide(begun(), DATA, job, make.running_pod(job), now=make.at(46))
    assert phase(decision) == "Running"
    assert decision.create == ()


def test_an_ended_run_stays_as_it_is_whatever_happens_to_its_children() -> None:
    decision = make.decide(begun(), DATA, *done(), now=make.at(46))
    ended = make.decide(make.after(RUN, decision), DATA, *done(), made(decision), now=make.at(46))
    rest = make.decide(make.after(RUN, ended), now=make.at(9000))
    assert (rest.status, rest.create, rest.events) == (ended.status, (), ())


def test_a_run_is_removed_after_its_time_and_its_version_is_not() -> None:
    run = make.training_run(
        spec={"ttlAfterFinished": "1h"},
        status={"observedGeneration": 1, "phase": "Succeeded", "completionTime": make.stamp(make.at(0))},
    )
    version = make.model_version()
    assert make.decide(run, version, now=make.at(3000)).again_in == 600
    decision = make.decide(run, version, now=make.at(3600))
    assert [(target.kind, target.name) for target in decision.delete] == [("TrainingRun", NAME)]
