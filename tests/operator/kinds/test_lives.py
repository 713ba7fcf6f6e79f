"""Whole lives of the kinds on the cluster in memory: stopped after every write, with events lost and repeated."""

import json
from collections.abc import Sequence

import pytest

import make
from cluster import Cluster, Step, crash_everywhere, mangle_everywhere, run
from slipway import api
from slipway.api import Dataset
from slipway.kinds import CONTROLLERS
from slipway.kinds.dataset import objects

pytestmark = pytest.mark.slow

KINDS = ("Dataset", "TrainingRun", "CompressionJob", "Model", "ModelVersion")
SEED_1 = {"split": {"seed": 1}}
RUN, SMALL, BETTER, BETTER_SMALL = (
    "fashion-cnn-v1",
    "fashion-cnn-v1-int8",
    "fashion-cnn-v2",
    "fashion-cnn-v2-int8",
)


def new_cluster() -> Cluster:
    """The ModelDeployment's controller stays out: the tests say what serves."""
    return Cluster(
        [controller for controller in CONTROLLERS if controller.kind in KINDS],
        {name: kind.parse for name, kind in api.KINDS.items()},
    )


def create(manifest: make.Manifest) -> Step:
    return lambda cluster: cluster.create(manifest) and None


def edit(kind: str, name: str, body: make.Manifest) -> Step:
    return lambda cluster: cluster.edit(kind, make.NAMESPACE, name, body) and None


def delete(kind: str, name: str) -> Step:
    return lambda cluster: cluster.delete(kind, make.NAMESPACE, name)


def start(job: str) -> Step:
    return lambda cluster: cluster.start_pod(make.NAMESPACE, job) and None


def finish(job: str, report: str, exit_code: int = 0) -> Step:
    return lambda cluster: cluster.finish_job(make.NAMESPACE, job, report, exit_code)


def serves(version: str) -> Step:
    """The ModelDeployment says that this version is its stable one."""
    status = {
        "observedGeneration": 1,
        "phase": "Healthy",
        "revisions": [
            {
                "name": f"fashion-{version}",
                "role": "Stable",
                "modelVersionRef": {"name": version},
                "weight": 100,
            }
        ],
    }
    return lambda cluster: cluster.set_status("ModelDeployment", make.NAMESPACE, "fashion", status)


def wait(seconds: float) -> Step:
    return lambda cluster: cluster.advance(seconds)


def prepare_job(attempt: int = 1, **spec: object) -> str:
    return objects.job_name(Dataset.parse(make.dataset(spec=spec)), attempt)


STORE_AWAY = make.failure_report(
    "dataset", "StoreUnreachable", "Can't reach http://store:8333 (refused).", 12
)
PREPARED = (create(make.dataset()), finish(prepare_job(), make.dataset_report()))
TRAINED = (*PREPARED, create(make.training_run()), finish(f"{RUN}-1", make.train_report()))

DATASET = (
    create(make.dataset()),
    start(prepare_job()),
    finish(prepare_job(), STORE_AWAY, 12),
    wait(5),
    finish(prepare_job(2), make.dataset_report()),
    edit("Dataset", "fashion-mnist", {"spec": {"augmentation": None}}),
    edit("Dataset", "fashion-mnist", {"spec": SEED_1}),
    finish(prepare_job(**SEED_1), make.dataset_report(digest=make.SMALL_DIGEST)),
)
TRAINING_RUN = (
    create(make.training_run()),
    *PREPARED,
    start(f"{RUN}-1"),
    edit("TrainingRun", RUN, {"spec": {"suspend": True}}),
    edit("TrainingRun", RUN, {"spec": {"suspend": False}}),
    finish(f"{RUN}-1", make.failure_report("train", "InternalError", "A fault.", 70), 70),
    wait(5),
    finish(f"{RUN}-2", make.train_report()),
    finish(f"{RUN}-verify-1", make.verify_report()),
    delete("TrainingRun", RUN),
)
COMPRESSION_JOB = (
    create(make.compression_job()),
    *TRAINED,
    finish(f"{RUN}-verify-1", make.verify_report()),
    finish(f"{SMALL}-1", make.failure_report("compress", "InternalError", "A fault.", 70), 70),
    wait(5),
    finish(f"{SMALL}-2", make.compress_report()),
    finish(f"{SMALL}-verify-1", make.verify_report(SMALL, make.SMALL_DIGEST)),
)
MODEL_VERSION = (
    create(make.user_version()),
    create(make.model_deployment(spec={"modelRef": None, "modelVersionRef": {"name": "fashion-byo"}})),
    finish("fashion-byo-verify-1", make.verify_report("fashion-byo")),
    serves("fashion-byo"),
    delete("ModelVersion", "fashion-byo"),
    delete("ModelDeployment", "fashion"),
)
MODEL = (
    create(make.model(spec={"aliases": [{"name": "candidate", "latest": {}}], "retention": {"keep": 1}})),
    create(make.model_version(RUN)),
    finish(f"{RUN}-verify-1", make.verify_report()),
    create(make.model_version(BETTER)),
    finish(f"{BETTER}-verify-1", make.verify_report(BETTER)),
    wait(60),
    create(make.model_version("fashion-cnn-v3")),
    finish("fashion-cnn-v3-verify-1", make.verify_report("fashion-cnn-v3")),
)
LIVES = {
    "Dataset": DATASET,
    "TrainingRun": TRAINING_RUN,
    "CompressionJob": COMPRESSION_JOB,
    "ModelVersion": MODEL_VERSION,
    "Model": MODEL,
}


@pytest.mark.parametrize("kind", LIVES)
def test_a_stop_after_any_write_changes_nothing_in_the_end(kind: str) -> None:
    assert crash_everywhere(new_cluster, LIVES[kind]) >= 10


@pytest.mark.parametrize("kind", LIVES)
def test_lost_repeated_and_reordered_events_change_nothing_in_the_end(kind: str) -> None:
    mangle_everywhere(new_cluster, LIVES[kind])


def status(cluster: Cluster, kind: str, name: str) -> make.Manifest:
    found: make.Manifest = cluster.get(kind, make.NAMESPACE, name)["status"]
    return found


def phases(cluster: Cluster) -> dict[str, str]:
    return {
        f"{kind} {manifest['metadata']['name']}": manifest["status"]["phase"]
        for kind in KINDS
        for manifest in cluster.list(kind)
    }


def test_a_dataset_ends_with_its_newest_content_and_only_the_jobs_of_that() -> None:
    cluster = run(new_cluster, DATASET)
    assert status(cluster, "Dataset", "fashion-mnist")["digest"] == make.SMALL_DIGEST
    assert [job["metadata"]["name"] for job in cluster.list("Job")] == [prepare_job(**SEED_1)]


def test_a_run_made_anew_waits_until_the_jobs_of_the_old_one_are_gone() -> None:
    cluster = run(new_cluster, (*PREPARED, create(make.training_run())))
    cluster.delete("TrainingRun", make.NAMESPACE, RUN)
    cluster.create(make.training_run())
    # The garbage collector of a real cluster takes a while: the old Job is still there when the new run begins.
    cluster.store.collect_garbage = lambda: None  # it comes late
    cluster.settle()
    waiting = status(cluster, "TrainingRun", RUN)
    assert "Waiting until ConfigMap fashion-cnn-v1-1 is gone" in waiting["summary"]
    del cluster.store.collect_garbage
    cluster.settle()
    cluster.advance(60)
    assert status(cluster, "TrainingRun", RUN)["attempt"] == 1
    assert [job["metadata"]["name"] for job in cluster.list("Job")] == [f"{RUN}-1", prepare_job()]


def test_a_version_outlives_the_run_that_made_it() -> None:
    cluster = run(new_cluster, TRAINING_RUN)
    assert phases(cluster) == {"Dataset fashion-mnist": "Ready", f"ModelVersion {RUN}": "Ready"}


def test_a_version_in_use_is_deleted_when_its_last_user_is_gone() -> None:
    cluster = run(new_cluster, MODEL_VERSION[:-1])
    assert status(cluster, "ModelVersion", "fashion-byo")["summary"] == (
        "Being deleted; waits until it isn't used by ModelDeployment fashion."
    )
    cluster.delete("ModelDeployment", make.NAMESPACE, "fashion")
    cluster.settle()
    assert phases(cluster) == {}


def test_retention_keeps_what_the_alias_points_to_and_one_more() -> None:
    cluster = run(new_cluster, MODEL)
    left = [version["metadata"]["name"] for version in cluster.list("ModelVersion")]
    assert left == [BETTER, "fashion-cnn-v3"]
    assert (
        status(cluster, "Model", "fashion-cnn")["aliases"][0]["modelVersionRef"]["name"] == "fashion-cnn-v3"
    )


CHAIN: Sequence[Step] = (
    # Everything is applied at once; each part waits for what it needs.
    create(make.compression_job()),
    create(make.model_deployment()),
    create(make.model()),
    create(make.training_run()),
    create(make.dataset()),
    finish(prepare_job(), make.dataset_report()),
    wait(30),
    finish(f"{RUN}-1", make.train_report()),
    finish(f"{RUN}-verify-1", make.verify_report()),
    wait(30),
    finish(f"{SMALL}-1", make.compress_report()),
    finish(f"{SMALL}-verify-1", make.verify_report(SMALL, make.SMALL_DIGEST)),
    serves(SMALL),
    create(make.training_run(BETTER, spec={"hyperparameters": {"epochs": 6}})),
    create(make.compression_job(BETTER_SMALL, spec={"modelVersionRef": {"name": BETTER}})),
    wait(60),
    finish(f"{BETTER}-1", make.train_report(BETTER, accuracy=0.9264)),
    finish(f"{BETTER}-verify-1", make.verify_report(BETTER)),
    finish(f"{BETTER_SMALL}-1", make.compress_report(BETTER_SMALL)),
    finish(f"{BETTER_SMALL}-verify-1", make.verify_report(BETTER_SMALL, make.SMALL_DIGEST)),
)


def test_the_whole_chain_goes_from_data_to_aliases() -> None:
    cluster = run(new_cluster, CHAIN)
    assert phases(cluster) == {
        "Dataset fashion-mnist": "Ready",
        f"TrainingRun {RUN}": "Succeeded",
        f"TrainingRun {BETTER}": "Succeeded",
        f"CompressionJob {SMALL}": "Succeeded",
        f"CompressionJob {BETTER_SMALL}": "Succeeded",
        "Model fashion-cnn": "Ready",
        f"ModelVersion {RUN}": "Ready",
        f"ModelVersion {SMALL}": "Ready",
        f"ModelVersion {BETTER}": "Ready",
        f"ModelVersion {BETTER_SMALL}": "Ready",
    }
    pointed = {
        alias["name"]: alias["modelVersionRef"]["name"]
        for alias in status(cluster, "Model", "fashion-cnn")["aliases"]
    }
    assert pointed == {"candidate": BETTER_SMALL, "champion": SMALL}
    assert status(cluster, "ModelVersion", SMALL)["usedBy"] == [
        {"kind": "ModelDeployment", "name": "fashion"},
        {"kind": "Model", "name": "fashion-cnn", "alias": "champion"},
    ]
    assert [
        (producer["metadata"]["name"], producer["spec"]["lineage"].get("parent", {}).get("name"))
        for producer in cluster.list("ModelVersion")
    ] == [(RUN, None), (SMALL, RUN), (BETTER, None), (BETTER_SMALL, BETTER)]


def test_a_rejected_version_moves_no_alias() -> None:
    cluster = run(new_cluster, CHAIN[:12])
    for step in (
        create(make.training_run("hasty")),
        finish("hasty-1", make.train_report("hasty", accuracy=0.61)),
        finish("hasty-verify-1", make.verify_report("hasty")),
        create(make.compression_job("hasty-int8", spec={"modelVersionRef": {"name": "hasty"}})),
    ):
        step(cluster)
        cluster.settle()
    assert phases(cluster)["TrainingRun hasty"] == "Rejected"
    assert phases(cluster)["ModelVersion hasty"] == "Rejected"
    assert (
        status(cluster, "CompressionJob", "hasty-int8")["conditions"][0]["reason"] == "ModelVersionUnusable"
    )
    assert status(cluster, "Model", "fashion-cnn")["aliases"][0]["modelVersionRef"]["name"] == SMALL


def test_no_status_is_larger_than_32_KiB() -> None:
    cluster = run(new_cluster, CHAIN)
    sizes = [len(json.dumps(m["status"])) for kind in KINDS for m in cluster.list(kind)]
    assert max(sizes) < 32 * 1024
