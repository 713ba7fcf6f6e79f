import pytest

import make
from slipway.contract.config import CompressTask, JobConfig
from slipway.decision import Decision

JOB = make.compression_job()
NAME = "fashion-cnn-v1-int8"
SOURCE = make.ready_version("fashion-cnn-v1")
DATA = make.ready_dataset()


def phase(decision: Decision) -> str:
    assert decision.status is not None
    return str(decision.status["phase"])


def summary(decision: Decision) -> str:
    assert decision.status is not None
    return str(decision.status["summary"])


def begun() -> make.Manifest:
    return make.after(JOB, make.decide(JOB, SOURCE, DATA))


def orders(decision: Decision) -> CompressTask:
    task = JobConfig.model_validate_json(decision.create[0]["data"]["job.json"]).task
    assert isinstance(task, CompressTask)
    return task


def made(decision: Decision) -> make.Manifest:
    """The version that a decision creates, as the API server returns it."""
    metadata = {"uid": "v", "resourceVersion": "1", "creationTimestamp": make.stamp(make.at(25))}
    return make.merged(decision.create[0], {"metadata": metadata})


def following(alias: str) -> make.Manifest:
    return make.compression_job(
        spec={"modelVersionRef": None, "modelRef": {"name": "fashion-cnn", "alias": alias}}
    )


# --- before it starts ---


def test_a_source_that_is_not_there_is_waited_for_by_name() -> None:
    decision = make.decide(make.compression_job(spec={"modelVersionRef": {"name": "fashion-cnn-v2"}}), SOURCE)
    assert make.told(decision, "InputsReady") == (
        "False",
        "ModelVersionNotFound",
        "Waiting for ModelVersion fashion-cnn-v2. There is a ModelVersion fashion-cnn-v1.",
    )


def test_a_source_that_a_run_is_about_to_make_is_told_with_it() -> None:
    run = make.training_run(status={"observedGeneration": 1, "phase": "Running"})
    assert make.told(make.decide(JOB, run, make.ready_version("fashion-cnn-v3")), "InputsReady")[2] == (
        "Waiting for ModelVersion fashion-cnn-v1, which TrainingRun fashion-cnn-v1 (Running) makes."
    )


def test_a_source_that_was_rejected_is_never_compressed() -> None:
    decision = make.decide(JOB, make.ready_version("fashion-cnn-v1", phase="Rejected"))
    assert make.told(decision, "InputsReady")[:2] == ("False", "ModelVersionUnusable")


def test_a_source_that_is_not_verified_yet_is_waited_for() -> None:
    decision = make.decide(JOB, make.model_version("fashion-cnn-v1"))
    assert make.told(decision, "InputsReady") == (
        "False",
        "ModelVersionNotReady",
        "Waiting for ModelVersion fashion-cnn-v1 to be Ready.",
    )


def test_an_empty_alias_names_the_newest_version() -> None:
    rejected = make.ready_version("fashion-cnn-v1", phase="Rejected")
    decision = make.decide(following("candidate"), make.model(), rejected)
    assert make.told(decision, "InputsReady") == (
        "False",
        "AliasEmpty",
        "Waiting: alias candidate of Model fashion-cnn points to no version yet; newest is fashion-cnn-v1 (Rejected).",
    )


def test_an_alias_that_the_model_does_not_have_is_said_with_those_it_has() -> None:
    decision = make.decide(following("champoin"), make.model())
    assert make.told(decision, "InputsReady") == (
        "False",
        "AliasNotFound",
        "Waiting: there is no alias champoin of Model fashion-cnn; it has candidate and champion.",
    )


def test_a_missing_model_is_waited_for() -> None:
    assert make.told(make.decide(following("candidate"), make.model("fashion")), "InputsReady") == (
        "False",
        "ModelNotFound",
        "Waiting for Model fashion-cnn. There is a Model fashion.",
    )


def test_a_source_without_a_dataset_needs_a_dataset_ref() -> None:
    source = make.user_version(
        "fashion-cnn-v1", status={"observedGeneration": 1, "phase": "Ready", "digest": make.MODEL_DIGEST}
    )
    assert make.told(make.decide(JOB, source), "InputsReady") == (
        "False",
        "DatasetNotFound",
        "ModelVersion fashion-cnn-v1 names no Dataset: create a job that sets datasetRef.",
    )


def test_a_taken_version_name_ends_it_before_any_pod() -> None:
    decision = make.decide(JOB, SOURCE, DATA, make.model_version(NAME, producer="TrainingRun"))
    assert (phase(decision), decision.create) == ("Failed", ())
    assert make.told(decision, "Succeeded")[2] == (
        "ModelVersion fashion-cnn-v1-int8 exists with digest sha256:3bfc269594ef; give this job another name."
    )


# --- what it starts with ---


def test_the_first_attempt_is_told_source_rows_and_passes() -> None:
    decision = make.decide(JOB, SOURCE, DATA)
    assert make.kinds_of(decision.create) == [f"ConfigMap {NAME}-1", f"Job {NAME}-1"]
    task = orders(decision)
    assert (task.source.name, task.source.digest) == ("fashion-cnn-v1", make.MODEL_DIGEST)
    assert task.source_uri == "s3://slipway/demo/models/fashion-cnn-v1/"
    assert task.dataset.digest == make.DATASET_DIGEST
    assert task.passes[0].static_quantize is not None
    assert task.passes[0].static_quantize.activation_type == "UINT8"
    assert (task.batch_sizes, task.threads, task.output_uri) == (
        [1, 32],
        1,
        "store://models/fashion-cnn-v1-int8/",
    )
    assert decision.create[1]["spec"]["activeDeadlineSeconds"] == 1800
    assert make.told(decision, "InputsReady") == (
        "True",
        "Resolved",
        "ModelVersion fashion-cnn-v1 and Dataset fashion-mnist are Ready.",
    )


def test_rows_are_those_the_source_was_measured_on_even_if_the_dataset_moved_on() -> None:
    moved = make.ready_dataset(digest=make.SMALL_DIGEST)
    task = orders(make.decide(JOB, SOURCE, moved))
    assert task.dataset.digest == make.DATASET_DIGEST
    assert task.dataset.storage_uri == "store://datasets/fashion-mnist/b277fd623676/"


def test_rows_outlive_their_dataset() -> None:
    assert (
        orders(make.decide(JOB, SOURCE)).dataset.storage_uri == "store://datasets/fashion-mnist/b277fd623676/"
    )


def test_what_an_alias_meant_is_settled_at_the_start() -> None:
    model = make.model(
        status={"aliases": [{"name": "champion", "modelVersionRef": {"name": "fashion-cnn-v1"}}]}
    )
    job = following("champion")
    first = make.decide(job, model, SOURCE, DATA)
    assert first.status is not None
    assert first.status["inputs"]["modelVersion"] == {"name": "fashion-cnn-v1", "digest": make.MODEL_DIGEST}
    config = make.merged(first.create[0], {"metadata": {"uid": "c", "resourceVersion": "1"}})
    moved = make.model(
        status={"aliases": [{"name": "champion", "modelVersionRef": {"name": "fashion-cnn-v2"}}]}
    )
    preempted = make.job(job, f"{NAME}-1", ended="Failed")
    # The status of the first pass was never written: the orders say what was taken.
    again = make.decide(
        job, moved, make.ready_version("fashion-cnn-v2"), DATA, config, preempted, now=make.at(60)
    )
    assert orders(again).source.name == "fashion-cnn-v1"


# --- how it ends ---


def done(report: str = "") -> list[make.Manifest]:
    return make.succeeded(JOB, f"{NAME}-1", report or make.compress_report(), finished=make.at(25))


def test_a_variant_that_holds_its_gates_is_registered_with_its_parent() -> None:
    decision = make.decide(begun(), SOURCE, DATA, *done(), now=make.at(25))
    spec = decision.create[0]["spec"]
    assert spec["lineage"]["parent"] == {"name": "fashion-cnn-v1", "digest": make.MODEL_DIGEST}
    assert spec["lineage"]["parameters"] == {"passes.int8": "staticQuantize UINT8/INT8 perChannel MinMax 512"}
    assert spec["evaluation"]["metrics"]["speedup"] == 1.9
    assert spec["evaluation"]["measuredOn"]["cpuModel"] == "AMD EPYC"
    assert decision.create[0]["metadata"]["labels"]["slipway.dev/producer"] == "CompressionJob"
    ended = make.decide(make.after(JOB, decision), SOURCE, DATA, *done(), made(decision), now=make.at(25))
    assert phase(ended) == "Succeeded"
    assert summary(ended) == (
        "int8 is 1.9x faster and 3.7x smaller than fashion-cnn-v1, accuracy +0.0002; registered as ModelVersion"
        " fashion-cnn-v1-int8."
    )
    assert ended.status is not None
    assert ended.status["result"] == "1.9x faster, 3.7x smaller, drop -0.0002"
    assert make.told(ended, "Measured") == (
        "True",
        "Stable",
        "Baseline and variant interleaved, 2,000 runs each, wall/CPU 1.01.",
    )
    assert [variant.get("verdict") for variant in ended.status["variants"]] == [None, "Pass"]
    assert make.told(ended, "Succeeded") == ("True", "Registered", "ModelVersion fashion-cnn-v1-int8.")


def test_a_gate_is_judged_on_the_confidence_bound() -> None:
    job = done(make.compress_report(drop=0.004, upper=0.0061))
    decision = make.decide(begun(), SOURCE, DATA, *job, now=make.at(25))
    ended = make.decide(make.after(JOB, decision), SOURCE, DATA, *job, made(decision), now=make.at(25))
    assert phase(ended) == "Rejected"
    assert make.told(ended, "GatesPassed")[:2] == ("False", "GateMissed")
    assert "registered as ModelVersion fashion-cnn-v1-int8, Rejected: it is never served." in summary(ended)
    assert ended.status is not None
    assert ended.status["variants"][1]["verdict"] == "Fail"


def test_a_node_that_is_too_busy_to_measure_ends_it_as_inconclusive() -> None:
    message = "Node too busy to compare (wall/CPU 1.6, 3 tries). Run it where CPUs are free."
    report = make.failure_report("compress", "Inconclusive", message, 17)
    decision = make.decide(begun(), SOURCE, DATA, *make.failed(JOB, f"{NAME}-1", report, 17))
    assert make.told(decision, "Measured") == ("False", "Inconclusive", message)
    assert phase(decision) == "Failed"


def test_the_active_deadline_ends_it_in_words() -> None:
    job = make.job(JOB, f"{NAME}-1", ended="Failed", reason="DeadlineExceeded")
    decision = make.decide(begun(), SOURCE, DATA, job)
    assert summary(decision) == "activeDeadline (30m) ended it. Give a new job more time."


@pytest.mark.parametrize("code", [10, 11])
def test_errors_of_user_and_data_end_it_at_once(code: int) -> None:
    report = make.failure_report("compress", "NotLoadable", "model.onnx: not a model.", code)
    assert phase(make.decide(begun(), SOURCE, DATA, *make.failed(JOB, f"{NAME}-1", report, code))) == "Failed"


def test_out_of_memory_is_tried_again_and_ends_with_the_limit() -> None:
    def attempts(count: int) -> list[make.Manifest]:
        return [
            manifest
            for number in range(1, count + 1)
            for manifest in make.failed(
                JOB,
                f"{NAME}-{number}",
                exit_code=137,
                pod_reason="OOMKilled",
                attempt=number,
                finished=make.at(number),
            )
        ]

    again = make.decide(begun(), SOURCE, DATA, *attempts(1), now=make.at(6))
    assert make.kinds_of(again.create)[1] == f"Job {NAME}-2"
    last = make.decide(begun(), SOURCE, DATA, *attempts(4), now=make.at(6))
    assert summary(last) == "Out of memory on node 0 in attempt 4 (limit 1Gi). Raise resources.limits.memory."


def test_an_ended_job_stays_as_it_is() -> None:
    decision = make.decide(begun(), SOURCE, DATA, *done(), now=make.at(25))
    ended = make.decide(make.after(JOB, decision), SOURCE, DATA, *done(), made(decision), now=make.at(25))
    rest = make.decide(make.after(JOB, ended), now=make.at(9000))
    assert (rest.status, rest.create, rest.delete, rest.events) == (ended.status, (), (), ())
