import json

import make
from slipway.api import Dataset
from slipway.contract.config import JobConfig
from slipway.kinds.dataset import objects

DATASET = make.dataset()
JOB = objects.job_name(Dataset.parse(DATASET), 1)


def job_name(attempt: int, dataset: make.Manifest = DATASET) -> str:
    return objects.job_name(Dataset.parse(dataset), attempt)


def test_a_new_dataset_is_prepared_by_a_job_with_its_orders() -> None:
    decision = make.decide(DATASET)
    assert make.kinds_of(decision.create) == [f"ConfigMap {JOB}", f"Job {JOB}"]
    orders = JobConfig.model_validate_json(decision.create[0]["data"]["job.json"])
    task = orders.task.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert task["sourceUri"] == "store://datasets/fashion-mnist/"
    assert task["outputUri"] == "store://datasets/fashion-mnist/"
    assert task["preprocessing"] == [
        {"scale": {"divisor": 255}},
        {"normalize": {"mean": [0.286], "std": [0.353]}},
    ]
    assert [gate["metric"] for gate in task["gates"]] == ["rows", "class_share", "leakage_rate"]


def test_all_conditions_are_set_at_the_first_visit() -> None:
    status = make.decide(DATASET).status
    assert status is not None
    assert [c["type"] for c in status["conditions"]] == [
        "InputsReady",
        "GatesPassed",
        "Ready",
        "Reconciling",
        "Stalled",
    ]
    assert status["observedGeneration"] == 1
    assert status["phase"] == "Running"


def test_a_report_makes_it_ready_as_the_api_shows_it() -> None:
    job, pod = make.succeeded(DATASET, JOB, make.dataset_report())
    decision = make.decide(DATASET, job, pod, now=make.at(61))
    assert decision.status is not None
    status = json.loads(json.dumps(decision.status))
    assert status["phase"] == "Ready"
    assert status["summary"] == "70,000 rows in 3 splits, 10 classes; 3 of 3 checks passed."
    assert status["result"] == "3 splits, 10 classes"
    assert status["digest"] == make.DATASET_DIGEST
    assert status["size"] == "52Mi"
    assert status["splits"][0] == {"name": "train", "rows": 54000}
    assert status["profile"]["inputs"] == [
        {"name": "image", "min": 0, "max": 255, "mean": 72.9, "std": 90.0, "missing_rate": 0}
    ]
    assert status["gates"][1] == {
        "metric": "class_share",
        "class": "T-shirt/top",
        "min": 0.05,
        "value": 0.1,
        "severity": "Warning",
        "verdict": "Pass",
    }
    assert make.told(decision, "InputsReady") == (
        "True",
        "SourceRead",
        "Read 4 files, 30.9 MB, from s3://slipway/demo/datasets/fashion-mnist/.",
    )
    assert make.told(decision, "GatesPassed") == ("True", "AllPassed", "3 of 3 checks passed.")
    assert make.told(decision, "Ready") == (
        "True",
        "Prepared",
        "70,000 rows in 3 splits, digest sha256:b277fd623676.",
    )
    assert make.told(decision, "Stalled") == ("False", "Prepared", "")


def test_a_check_of_severity_error_rejects_it() -> None:
    report = make.dataset_report(measurements=[{"metric": "rows", "value": 50000}])
    decision = make.decide(
        make.dataset(spec={"checks": [{"metric": "rows", "min": 60000}]}),
        *make.succeeded(
            DATASET, job_name(1, make.dataset(spec={"checks": [{"metric": "rows", "min": 60000}]})), report
        ),
    )
    assert decision.status is not None
    assert decision.status["phase"] == "Rejected"
    assert make.told(decision, "Ready") == ("False", "GateMissed", "rows 50,000, min 60,000.")
    assert make.told(decision, "Stalled")[0] == "True"
    assert "rows 50,000 is under 60,000" in decision.status["summary"]


def test_a_check_of_severity_warning_only_warns() -> None:
    dataset = make.dataset(spec={"checks": [{"metric": "rows", "min": 90000, "severity": "Warning"}]})
    report = make.dataset_report(measurements=[{"metric": "rows", "value": 70000}])
    decision = make.decide(dataset, *make.succeeded(dataset, job_name(1, dataset), report))
    assert decision.status is not None
    assert decision.status["phase"] == "Ready"
    assert make.told(decision, "GatesPassed") == (
        "True",
        "PassedWithWarnings",
        "0 of 1 check passed. Warning: rows 70,000, min 90,000.",
    )
    assert [event.type for event in decision.events] == ["Normal", "Warning"]


def test_unreadable_data_is_final_until_the_spec_changes() -> None:
    message = "train-images-idx3-ubyte.gz: magic number 0x00000000, an IDX image file has 0x00000803."
    report = make.failure_report("dataset", "SourceUnreadable", message, 11)
    attempt = make.failed(DATASET, JOB, report, 11)
    decision = make.decide(DATASET, *attempt)
    assert decision.status is not None
    assert decision.status["phase"] == "Failed"
    assert make.told(decision, "InputsReady") == ("False", "SourceUnreadable", message)
    assert make.told(decision, "Stalled") == ("True", "SourceUnreadable", message)
    assert make.decide(make.after(DATASET, decision), *attempt).create == ()

    changed = make.dataset(
        spec={"source": {"storageUri": "store://datasets/repaired/"}}, generation=2, status=decision.status
    )
    again = make.decide(changed, *attempt)
    assert make.kinds_of(again.create)[1] == f"Job {job_name(1, changed)}"


def test_an_unreachable_store_is_tried_again_with_growing_delays() -> None:
    message = "Can't reach http://store.slipway-system:8333 (connection refused), tried 3 times."
    report = make.failure_report("dataset", "StoreUnreachable", message, 12)
    attempts = [
        manifest
        for number in (1, 2, 3, 4)
        for manifest in make.failed(
            DATASET, job_name(number), report, 12, attempt=number, finished=make.at(number)
        )
    ]
    decision = make.decide(DATASET, *attempts, now=make.at(4))
    assert make.told(decision, "InputsReady") == (
        "False",
        "StoreUnreachable",
        "Can't reach http://store.slipway-system:8333 (connection refused), tried 4 times; next try in 40s.",
    )
    assert make.told(decision, "Reconciling")[0] == "True"
    assert decision.create == ()
    assert decision.again_in == 40
    later = make.decide(DATASET, *attempts, now=make.at(44))
    assert make.kinds_of(later.create)[1] == f"Job {job_name(5)}"
    assert [target.name for target in later.delete] == [job_name(1), job_name(2)]


def test_waiting_for_the_next_try_says_the_same_until_then() -> None:
    report = make.failure_report("dataset", "StoreUnreachable", "Can't reach the store.", 12)
    attempt = make.failed(DATASET, JOB, report, 12, finished=make.at(1))
    first = make.decide(DATASET, *attempt, now=make.at(1))
    second = make.decide(make.after(DATASET, first), *attempt, now=make.at(4))
    assert second.status == first.status
    assert second.events == ()


def test_running_out_of_memory_ends_after_four_tries_and_names_the_limit() -> None:
    attempts = [
        manifest
        for number in (1, 2, 3, 4)
        for manifest in make.failed(
            DATASET,
            job_name(number),
            exit_code=137,
            pod_reason="OOMKilled",
            attempt=number,
            finished=make.at(number),
        )
    ]
    decision = make.decide(DATASET, *attempts, now=make.at(1000))
    assert decision.status is not None
    assert decision.status["summary"] == (
        "Out of memory on node 0 in attempt 4 (limit 1Gi). Raise resources.limits.memory."
    )


def test_a_missing_store_secret_is_named_with_its_keys() -> None:
    job = make.job(DATASET, JOB)
    pod = make.waiting_pod(job, "CreateContainerConfigError", 'secret "slipway-store" not found')
    decision = make.decide(DATASET, job, pod)
    assert make.told(decision, "Ready") == (
        "False",
        "StoreNotConfigured",
        "Secret slipway-store is missing in namespace demo, or lacks a key: create it with uri, endpoint,"
        " accessKeyId, secretAccessKey.",
    )


def test_a_changed_spec_keeps_the_old_result_until_there_is_a_new_one() -> None:
    changed = make.merged(
        make.ready_dataset(), {"spec": {"split": {"seed": 1}}, "metadata": {"generation": 2}}
    )
    old = make.succeeded(DATASET, JOB, make.dataset_report())
    decision = make.decide(changed, *old)
    assert decision.status is not None
    assert decision.status["phase"] == "Running"
    assert decision.status["digest"] == make.DATASET_DIGEST
    assert make.told(decision, "Ready")[:2] == ("False", "Starting")
    assert make.kinds_of(decision.create)[1] == f"Job {job_name(1, changed)}"


def test_work_for_an_older_spec_is_stopped() -> None:
    changed = make.dataset(spec={"split": {"seed": 1}}, generation=2)
    decision = make.decide(changed, make.job(DATASET, JOB))
    assert [target.name for target in decision.delete] == [JOB]


def test_augmentation_changes_nothing_about_the_prepared_copy() -> None:
    changed = make.dataset(spec={"augmentation": []}, generation=2)
    decision = make.decide(changed, *make.succeeded(DATASET, JOB, make.dataset_report()))
    assert decision.create == ()
    assert decision.status is not None
    assert decision.status["observedGeneration"] == 2


def test_a_dataset_at_rest_is_left_alone() -> None:
    ready = make.ready_dataset()
    decision = make.decide(ready, *make.succeeded(ready, JOB, make.dataset_report()))
    assert (decision.status, decision.create, decision.delete, decision.events) == (None, (), (), ())


def test_a_job_that_somebody_deleted_is_followed_by_the_next_attempt() -> None:
    running = make.after(DATASET, make.decide(DATASET))
    assert make.kinds_of(make.decide(running).create)[1] == f"Job {job_name(2)}"
