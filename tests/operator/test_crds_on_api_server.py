"""The CRDs on a real API server: established, defaulted, explained, and saying in words what they refuse."""

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from slipway import crdgen
from slipway.api import GROUP, KINDS, VERSION

ROOT = Path(__file__).resolve().parents[2]
API = ROOT / "tests" / "operator" / "api"
sys.path.insert(0, str(ROOT / "e2e"))
import apiserver  # type: ignore[import-not-found]  # noqa: E402 - lies beside the cluster's tools, not in a package

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def api() -> Iterator[client.ApiClient]:
    """A client of an API server with our CRDs established."""
    with ExitStack() as stack:
        try:
            kubeconfig = stack.enter_context(apiserver.api_server())
        except apiserver.ProgramsMissingError as missing:
            pytest.skip(str(missing))
        made = stack.enter_context(new_client(kubeconfig))
        for kind in KINDS.values():
            extensions(made).create_custom_resource_definition(crdgen.crd(kind))
        wait_until(lambda: all(established(made, kind.PLURAL) for kind in KINDS.values()))
        yield made


def new_client(kubeconfig: Path) -> client.ApiClient:
    made: client.ApiClient = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]  # not typed there
    return made


def objects(api: client.ApiClient) -> Any:
    # Any: the client's types are those of typed kinds, and its optional fields are never absent here.
    return client.CustomObjectsApi(api)


def extensions(api: client.ApiClient) -> Any:
    return client.ApiextensionsV1Api(api)


def established(api: client.ApiClient, plural: str) -> bool:
    found = extensions(api).read_custom_resource_definition(f"{plural}.{GROUP}")
    states = {c.type: c for c in found.status.conditions or []}
    for name in ("NonStructuralSchema", "KubernetesAPIApprovalPolicyConformant"):
        assert name not in states or states[name].status != "True", states[name].message
    return "Established" in states and states["Established"].status == "True"


def wait_until(holds: Any, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not so within {within} s"
        time.sleep(0.1)


def create(api: client.ApiClient, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
    manifest = {**manifest, "metadata": {**manifest["metadata"], "namespace": "default"}}
    made: Manifest = objects(api).create_namespaced_custom_object(
        GROUP,
        VERSION,
        "default",
        KINDS[manifest["kind"]].PLURAL,
        manifest,
        field_validation="Strict",
        **({"dry_run": "All"} if dry_run else {}),
    )
    return made


def delete(api: client.ApiClient, manifest: Manifest) -> None:
    objects(api).delete_namespaced_custom_object(
        GROUP, VERSION, "default", KINDS[manifest["kind"]].PLURAL, manifest["metadata"]["name"]
    )


def refusal(api: client.ApiClient, manifest: Manifest) -> str:
    """What the API server says to it; it must refuse."""
    with pytest.raises(ApiException) as refused:
        create(api, manifest, dry_run=True)
    assert refused.value.status in (400, 422), refused.value.body
    said: str = json.loads(refused.value.body or "")["message"]
    return said


def example(name: str) -> Manifest:
    loaded: Manifest = yaml.safe_load((API / "examples" / f"{name}.yaml").read_text())
    return loaded


EXAMPLES = sorted(path.stem for path in (API / "examples").glob("*.yaml"))
STATUSES = sorted(path.stem for path in (API / "statuses").glob("*.yaml"))
DATASET = "dataset_fashion-mnist"
RUN = "training_run_fashion-cnn-v1"
JOB = "compression_job_fashion-cnn-v1-int8"
MODEL = "model_fashion-cnn"
VERSION_ = "model_version_fashion-byo"
MADE = "model_version_fashion-cnn-v1-int8"
DEPLOYMENT = "model_deployment_fashion"


def test_the_server_accepts_what_the_chart_and_the_bundle_hold(api: client.ApiClient) -> None:
    # The fixture created what crdgen makes; test_crdgen says that the files hold the same.
    found = extensions(api).list_custom_resource_definition().items
    assert sorted(crd.metadata.name for crd in found) == sorted(
        f"{kind.PLURAL}.{GROUP}" for kind in KINDS.values()
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_accepted_and_starts_as_not_looked_at(api: client.ApiClient, name: str) -> None:
    made = create(api, example(name))
    delete(api, made)
    assert made["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("name", STATUSES)
def test_every_status_of_the_examples_is_accepted_as_our_models_write_it(
    api: client.ApiClient, name: str
) -> None:
    kind = next(k for k in KINDS.values() if name.rsplit("_", 1)[0] == snake(k.kind()))
    wanted = yaml.safe_load((API / "statuses" / f"{name}.yaml").read_text())["status"]
    spec = next(example(e) for e in EXAMPLES if KINDS[example(e)["kind"]] is kind)
    made = create(api, spec)
    status = kind.parse({**spec, "status": wanted}).status.dump()
    try:
        written = objects(api).patch_namespaced_custom_object_status(
            GROUP,
            VERSION,
            "default",
            kind.PLURAL,
            made["metadata"]["name"],
            {"status": status},
            field_validation="Strict",
        )
    finally:
        delete(api, made)
    assert written["status"] == {"observedGeneration": -1, **status}


def snake(kind: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()


def test_what_is_left_out_is_filled_in(api: client.ApiClient) -> None:
    run = example(RUN)
    run["spec"] = {
        "datasetRef": {"name": "fashion-mnist"},
        "model": {"resnet": {}},
        "hyperparameters": {"epochs": 1, "learningRate": 0.1},
    }
    made = create(api, run, dry_run=True)["spec"]
    assert made == {
        "datasetRef": {"name": "fashion-mnist"},
        "model": {"resnet": {"width": 32, "blocks": [1, 1, 1]}},
        "hyperparameters": {
            "epochs": 1,
            "batchSize": 256,
            "learningRate": 0.1,
            "optimizer": "SGD",
            "precision": "FP32",
            "schedule": "OneCycle",
            "seed": 0,
            "weightDecay": 0,
        },
        "trainer": {"numNodes": 1},
        "checkpoints": {"interval": "1m", "keep": 2},
        "failurePolicy": {"maxRestarts": 3},
        "startDeadline": "10m",
        "suspend": False,
        "evaluation": {"split": "test"},
    }


def test_the_server_fills_in_what_our_models_fill_in(api: client.ApiClient) -> None:
    for name in EXAMPLES:
        manifest = example(name)
        made = create(api, manifest, dry_run=True)
        parsed = KINDS[manifest["kind"]].parse
        assert parsed(made).spec == parsed(manifest).spec


FIXED = "is fixed once it is created"
REFUSED = [
    # Whoever adds a rule to the API adds a row: what is changed in a good object, and the words of the refusal.
    (
        DEPLOYMENT,
        {"rollout.canary.steps": [{"setWeight": 20, "step": 1}]},
        'unknown field "spec.rollout.canary.steps[0].step"',
    ),
    (DEPLOYMENT, {"rollout.canary.step": 1}, 'unknown field "spec.rollout.canary.step"'),
    (RUN, {"trainer.image": "x"}, 'unknown field "spec.trainer.image"'),
    (DATASET, {"source.feedback": {}}, 'unknown field "spec.source.feedback"'),
    (JOB, {"modelRef": {"name": "m", "alias": "a"}}, "set exactly one of modelRef and modelVersionRef"),
    (JOB, {"modelVersionRef": None}, "set exactly one of modelRef and modelVersionRef"),
    (DEPLOYMENT, {"modelVersionRef": {"name": "v"}}, "set exactly one of modelRef and modelVersionRef"),
    (DEPLOYMENT, {"modelRef": None}, "set exactly one of modelRef and modelVersionRef"),
    (DEPLOYMENT, {"modelRef": {"name": "m"}}, "spec.modelRef.alias: Required value"),
    (
        RUN,
        {"gates": [{"metric": "accuracy", "min": 0.9}, {"metric": "f1_macro"}]},
        r"spec.gates\[1\]: .*set min, max or both",
    ),
    (DATASET, {"checks": [{"metric": "rows"}]}, r"spec.checks\[0\]: .*set min, max or both"),
    (JOB, {"gates": [{"metric": "speedup"}]}, r"spec.gates\[0\]: .*set min, max or both"),
    (
        RUN,
        {"gates": [{"metric": "accuracy", "min": 92}]},
        r"spec.gates\[0\]: .*min is 92; accuracy is a fraction from 0 to 1: did you mean 0.92\?",
    ),
    (
        JOB,
        {"gates": [{"metric": "accuracy_drop", "max": 1.5}]},
        r"max is 1.5; accuracy_drop is a fraction from 0 to 1: did you mean 0.015\?",
    ),
    (
        DATASET,
        {"checks": [{"metric": "leakage_rate", "max": 500}]},
        r"max is 500; leakage_rate is a fraction from 0 to 1$",
    ),
    (
        RUN,
        {"gates": [{"metric": "accuracy", "min": 0.9, "max": 0.8}]},
        r"min \(0.9\) is above max \(0.8\): nothing can pass",
    ),
    (
        RUN,
        {"gates": [{"metric": "acuracy", "min": 0.9}]},
        "acuracy is not measured here; use one of accuracy, precision",
    ),
    (
        RUN,
        {"gates": [{"metric": "accuracy", "class": "Bag", "min": 0.9}]},
        "only precision, recall, f1 is measured per class",
    ),
    (RUN, {"gates": [{"metric": "recall", "min": 0.9}]}, "set class to a class's name"),
    (RUN, {"model": {}}, "set exactly one of model.cnn and model.resnet"),
    (RUN, {"model.cnn": {}}, "set exactly one of model.cnn and model.resnet"),
    (
        RUN,
        {"hyperparameters.optimizer": "AdamW"},
        "momentum belongs to SGD: remove it, or set optimizer: SGD",
    ),
    (RUN, {"trainer.numNodes": 3}, "trainer.numNodes share hyperparameters.batchSize equally"),
    (RUN, {"trainer.numNodes": 65}, "should be less than or equal to 64"),
    (RUN, {"checkpoints.interval": "0s"}, "checkpoints.interval must be longer than 0s"),
    (RUN, {"activeDeadline": "1 day"}, "spec.activeDeadline"),
    (
        RUN,
        {"output.modelRef.alias": "champion"},
        "output.modelRef.alias: a new version joins a Model; aliases move by the Model's rules",
    ),
    (
        JOB,
        {"output.modelRef.alias": "champion"},
        "output.modelRef.alias: a new version joins a Model; aliases move by the Model's rules",
    ),
    (
        JOB,
        {"passes.0.staticQuantize.calibration.split": "test"},
        "calibration.split and evaluation.split are both test: calibrate on train or validation",
    ),
    (
        JOB,
        {"passes.0.staticQuantize.activationType": "INT8", "target.device": None},
        "activationType INT8 is slower than FP32 on x86 CPUs; use UINT8 or set target.device",
    ),
    (JOB, {"passes": [{"name": "nothing"}]}, "set exactly one of: staticQuantize"),
    (
        JOB,
        {"passes": [{"name": "a", "staticQuantize": {}}, {"name": "b", "staticQuantize": {}}]},
        "passes: a model can be quantized once; keep one staticQuantize",
    ),
    (
        DEPLOYMENT,
        {"rollout.canary.steps": [{"setWeight": 50}, {"setWeight": 20}]},
        r"rollout.canary.steps: weights must rise and stay between 1 and 99, got \[50, 20\]",
    ),
    (
        DEPLOYMENT,
        {"rollout.canary.steps": [{"setWeight": 20}, {"setWeight": 20}]},
        r"weights must rise .* got \[20, 20\]",
    ),
    (DEPLOYMENT, {"rollout.canary.steps": [{"setWeight": 100}]}, r"between 1 and 99, got \[100\]"),
    (
        DEPLOYMENT,
        {"rollout.canary.steps": [{"setWeight": 5, "pause": {}}]},
        "set exactly one of setWeight and pause",
    ),
    (DEPLOYMENT, {"autoscaling.minReplicas": 4}, r"autoscaling.minReplicas \(4\) is above maxReplicas \(3\)"),
    (DEPLOYMENT, {"replicas": 2}, "replicas and autoscaling are both set: remove replicas"),
    (DEPLOYMENT, {"slo": None}, "analysis metric slow_rate needs slo.latency"),
    (DEPLOYMENT, {"rollout": None}, "analysis has nothing to compare without rollout.canary"),
    (DEPLOYMENT, {"analysis.metrics.0.maxIncrease": 2}, r"maxIncrease is 2; .* did you mean 0.02\?"),
    (DEPLOYMENT, {"slo.latency.threshold": "0ms"}, "slo.latency.threshold must be longer than 0s"),
    (DEPLOYMENT, {"slo.latency.threshold": "25"}, "spec.slo.latency.threshold"),
    (
        DATASET,
        {"split.validationFraction": 0.7, "split.testFraction": 0.5},
        "split: validationFraction and testFraction add up to 1.2; they must leave rows for train",
    ),
    (DATASET, {"preprocessing": [{}]}, "set exactly one of scale and normalize"),
    (
        DATASET,
        {"preprocessing": [{"normalize": {"mean": [0.1]}}]},
        "give mean and std for the same channels, or neither",
    ),
    (DATASET, {"augmentation": [{}]}, "set exactly one of: randomHorizontalFlip"),
    (
        DATASET,
        {"schema.target": {"name": "price", "type": "Number"}},
        "split.method Stratified needs classes",
    ),
    (
        DATASET,
        {"schema.target.type": "Number", "split.method": "Random"},
        "classes belong to type Class: remove them, or set type: Class",
    ),
    (
        MODEL,
        {"aliases.0.best": {"metric": "accuracy"}},
        "set exactly one of latest, best, promoted and fixed",
    ),
    (
        MODEL,
        {"aliases": [{"name": "b", "best": {"metric": "niceness"}}]},
        "best.metric: niceness is no figure of a version",
    ),
    (VERSION_, {"modelRef": {"name": "m", "alias": "champion"}}, 'unknown field "spec.modelRef.alias"'),
    (VERSION_, {"storageUri": "ftp://host/model.onnx"}, "spec.storageUri"),
    (VERSION_, {"digest": "sha256:05f0"}, "spec.digest"),
]


@pytest.mark.parametrize(("name", "patch", "said"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_a_bad_object_is_refused_in_words(
    api: client.ApiClient, name: str, patch: Manifest, said: str
) -> None:
    message = refusal(api, changed(example(name), patch))
    assert re.search(said, message) or said in message, message


def changed(manifest: Manifest, patch: Manifest) -> Manifest:
    """The manifest with fields of its spec set, or removed by None; the path goes through lists by index."""
    made = deepcopy(manifest)
    for path, value in patch.items():
        *parents, last = path.split(".")
        at: Any = made["spec"]
        for key in parents:
            at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
        if value is None:
            at.pop(last, None)
        else:
            at[last] = value
    return made


@pytest.mark.parametrize("name", [DATASET, RUN, JOB, MODEL, VERSION_, DEPLOYMENT])
def test_a_name_must_leave_room_and_be_fit_for_a_service(api: client.ApiClient, name: str) -> None:
    manifest = example(name)
    manifest["metadata"]["name"] = "a" * 41
    assert "metadata.name has 41 characters; at most 40 are allowed" in refusal(api, manifest)
    for bad in ("1st", "a.b"):
        manifest["metadata"]["name"] = bad
        assert "metadata.name must begin with a letter" in refusal(api, manifest)
    manifest["metadata"]["name"] = "a" * 40
    assert create(api, manifest, dry_run=True)["metadata"]["name"] == "a" * 40


def replace(api: client.ApiClient, manifest: Manifest) -> Manifest:
    replaced: Manifest = objects(api).replace_namespaced_custom_object(
        GROUP, VERSION, "default", KINDS[manifest["kind"]].PLURAL, manifest["metadata"]["name"], manifest
    )
    return replaced


@pytest.mark.parametrize(
    ("name", "patch", "said"),
    [
        (
            RUN,
            {"hyperparameters.epochs": 6},
            "spec of a TrainingRun is fixed once it is created (suspend, activeDeadline and ttlAfterFinished may"
            " change): create a new one",
        ),
        (RUN, {"gates": None}, f"spec of a TrainingRun {FIXED}"),
        (RUN, {"pod": {"labels": {"a": "b"}}}, f"spec of a TrainingRun {FIXED}"),
        (JOB, {"activeDeadline": "1h"}, f"spec of a CompressionJob {FIXED}: create a new one"),
        (MADE, {"evaluation.metrics.accuracy": 0.99}, f"spec of a ModelVersion {FIXED}: create a new one"),
    ],
)
def test_what_ran_once_never_changes(api: client.ApiClient, name: str, patch: Manifest, said: str) -> None:
    made = create(api, example(name))
    try:
        with pytest.raises(ApiException) as refused:
            replace(api, changed(made, patch))
    finally:
        delete(api, made)
    assert said in json.loads(refused.value.body or "")["message"]


def test_a_run_may_be_suspended_given_more_time_and_cleaned_up(api: client.ApiClient) -> None:
    made = create(api, example(RUN))
    wanted = {"suspend": True, "activeDeadline": "2h", "ttlAfterFinished": "168h"}
    try:
        assert replace(api, changed(made, wanted))["spec"].items() >= wanted.items()
    finally:
        delete(api, made)


def test_a_deployment_and_a_dataset_may_change(api: client.ApiClient) -> None:
    for name, patch in ((DEPLOYMENT, {"autoscaling.maxReplicas": 5}), (DATASET, {"split.seed": 1})):
        made = create(api, example(name))
        try:
            assert replace(api, changed(made, patch))["metadata"]["generation"] == 2
        finally:
            delete(api, made)


def test_a_deployment_is_scaled_by_its_subresource(api: client.ApiClient) -> None:
    made = create(api, changed(example(DEPLOYMENT), {"autoscaling": None}))
    name, plural = made["metadata"]["name"], KINDS["ModelDeployment"].PLURAL
    status = {"observedGeneration": 1, "replicas": 1, "selector": "slipway.dev/revision=fashion-6d4f9c"}
    try:
        objects(api).patch_namespaced_custom_object_status(
            GROUP, VERSION, "default", plural, name, {"status": status}
        )
        objects(api).patch_namespaced_custom_object_scale(
            GROUP, VERSION, "default", plural, name, {"spec": {"replicas": 3}}
        )
        scale = objects(api).get_namespaced_custom_object_scale(GROUP, VERSION, "default", plural, name)
    finally:
        delete(api, made)
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 1, "selector": "slipway.dev/revision=fashion-6d4f9c"}


def table(api: client.ApiClient, plural: str) -> list[dict[str, Any]]:
    """What `kubectl get` shows without -o wide, by column."""
    request = api.param_serialize(
        "GET",
        f"/apis/{GROUP}/{VERSION}/namespaces/default/{plural}",
        header_params={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"},
        auth_settings=["BearerToken"],
    )
    response: Any = api.call_api(*request)
    shown = json.loads(response.read())
    names = [(column["name"], column["priority"]) for column in shown["columnDefinitions"]]
    return [
        {name: cell for (name, priority), cell in zip(names, row["cells"], strict=True) if priority == 0}
        for row in shown["rows"]
    ]


@pytest.mark.parametrize(
    ("name", "status", "shown"),
    [
        (
            DATASET,
            "dataset_1",
            {"Phase": "Ready", "Result": "3 splits, 10 classes", "Rows": 70000, "Size": "52Mi"},
        ),
        (
            RUN,
            "training_run_1",
            {
                "Phase": "Running",
                "Percent": 61,
                "Remaining": "22s",
                "Result": "accuracy 0.8871",
                "Attempt": 1,
            },
        ),
        (
            MODEL,
            "model_1",
            {
                "Ready": "True",
                "Candidate": "fashion-cnn-v2-int8",
                "Champion": "fashion-cnn-v1-int8",
                "Versions": 4,
            },
        ),
        (
            MADE,
            "model_version_2",
            {
                "Model": "fashion-cnn",
                "Phase": "Ready",
                "Result": "accuracy 0.9062",
                "From": "fashion-cnn-v1-int8",
            },
        ),
        (
            DEPLOYMENT,
            "model_deployment_1",
            {
                "Phase": "Progressing",
                "Stable": "fashion-cnn-v1-int8",
                "Canary": "fashion-cnn-v2-int8",
                "Weight": 20,
                "P99 ms": 22.4,
            },
        ),
    ],
)
def test_kubectl_get_shows_the_columns_of_the_api(
    api: client.ApiClient, name: str, status: str, shown: dict[str, Any]
) -> None:
    made = create(api, example(name))
    plural = KINDS[made["kind"]].PLURAL
    wanted = yaml.safe_load((API / "statuses" / f"{status}.yaml").read_text())
    try:
        objects(api).patch_namespaced_custom_object_status(
            GROUP, VERSION, "default", plural, made["metadata"]["name"], wanted
        )
        (row,) = table(api, plural)
    finally:
        delete(api, made)
    assert list(row) == ["Name", *shown, "Age"]
    assert {column: row[column] for column in shown} == shown


def test_kubectl_explain_has_a_text_for_every_field(api: client.ApiClient) -> None:
    def published() -> Manifest:
        request = api.param_serialize(
            "GET", "/openapi/v3/apis/slipway.dev/v1alpha1", auth_settings=["BearerToken"]
        )
        response: Any = api.call_api(*request)
        found: Manifest = json.loads(response.read())
        return found

    wait_until(lambda: len(kinds_of(published())) == len(KINDS))
    for name, schema in kinds_of(published()).items():
        for part in ("spec", "status"):
            assert silent_fields(schema["properties"][part], f"{name}.{part}") == []


def kinds_of(openapi: Manifest) -> dict[str, Manifest]:
    return {
        name.rsplit(".", 1)[1]: schema
        for name, schema in openapi.get("components", {}).get("schemas", {}).items()
        if name.rsplit(".", 1)[1] in KINDS
    }


def silent_fields(schema: Manifest, path: str) -> list[str]:
    silent = [] if schema.get("description") else [path]
    inner = schema.get("items", schema)
    for name, child in inner.get("properties", {}).items():
        silent += silent_fields(child, f"{path}.{name}")
    return silent
