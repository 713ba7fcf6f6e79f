"""The kinds as models: the API's examples come back as they went in, and a status stays small."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from slipway.api import KINDS, Condition, Dataset, ModelDeployment, Reason, TrainingRun
from slipway.api.dataset import DatasetStatus
from slipway.api.model_deployment import ModelDeploymentStatus

HERE = Path(__file__).parent
EXAMPLES = sorted(HERE.glob("examples/*.yaml"))
STATUSES = sorted(HERE.glob("statuses/*.yaml"))


def missing(wanted: Any, found: Any, path: str = "") -> list[str]:
    """What the first has and the second lacks or says otherwise."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for key, value in wanted.items()
            for line in (
                [f"{path}.{key} is lost"] if key not in found else missing(value, found[key], f"{path}.{key}")
            )
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            line
            for n, pair in enumerate(zip(wanted, found, strict=True))
            for line in missing(*pair, f"{path}[{n}]")
        ]
    return [] if wanted == found else [f"{path}: {wanted!r} became {found!r}"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_comes_back_as_it_went_in(path: Path) -> None:
    manifest = yaml.safe_load(path.read_text())
    assert missing(manifest, KINDS[manifest["kind"]].parse(manifest).to_manifest()) == []


@pytest.mark.parametrize("path", STATUSES, ids=lambda p: p.stem)
def test_a_status_comes_back_as_it_went_in(path: Path) -> None:
    kind = next(k for k in KINDS if re.sub(r"(?<!^)(?=[A-Z])", "_", k).lower() == path.stem.rsplit("_", 1)[0])
    status = yaml.safe_load(path.read_text())["status"]
    model = KINDS[kind].model_fields["status"].annotation
    assert model is not None
    dumped = model.model_validate(status).dump()
    assert missing(status, dumped) == []
    assert missing(dumped, {"observedGeneration": -1, **status}) == []


def test_nothing_unset_is_ever_written() -> None:
    made = TrainingRun.parse(yaml.safe_load((HERE / "examples/training_run_fashion-cnn-v1.yaml").read_text()))
    text = json.dumps([made.to_manifest(), made.status.dump()])
    assert "null" not in text
    assert made.status.dump() == {"observedGeneration": -1}


def test_an_empty_object_that_means_something_is_kept() -> None:
    made = ModelDeployment.parse(
        {
            "metadata": {"name": "d"},
            "spec": {
                "modelVersionRef": {"name": "v"},
                "rollout": {"canary": {"steps": [{"setWeight": 5}, {"pause": {}}]}},
            },
        }
    ).to_manifest()["spec"]
    assert made["rollout"]["canary"]["steps"] == [{"setWeight": 5}, {"pause": {}}]
    assert made["triton"]["dynamicBatching"] == {}


def test_fields_of_a_newer_version_are_read_over() -> None:
    made = Dataset.parse(
        {
            "metadata": {"name": "d", "managedFields": [{}]},
            "spec": {
                "source": {"storageUri": "store://d/", "feedback": {}},
                "format": "IDX",
                "schema": {
                    "inputs": [{"name": "x", "datatype": "FP32", "shape": [4]}],
                    "target": {"name": "y"},
                },
            },
        }
    )
    assert made.spec.schema_.inputs[0].shape == [4]
    assert made.spec.split.method == "Stratified"


def test_what_an_object_may_not_say_is_refused_by_path() -> None:
    with pytest.raises(ValidationError, match=r"spec\.format"):
        Dataset.parse({"metadata": {"name": "d"}, "spec": {"format": "CSV"}})


def test_a_list_of_a_status_is_shortened_to_its_cap() -> None:
    many = [Condition(type=f"State{n}", status="True", reason="Resolved") for n in range(40)]
    assert len(DatasetStatus(conditions=many).conditions) == 16


def test_a_full_deployment_status_stays_under_32_kib() -> None:
    status = yaml.safe_load((HERE / "statuses/model_deployment_1.yaml").read_text())["status"]
    status["summary"] = "s" * 5000
    status["history"] *= 30
    step = status["rollout"]["steps"][0]
    status["rollout"]["steps"] = [step] * 20
    for condition in status["conditions"]:
        condition["message"] = "m" * 300
    assert len(json.dumps(ModelDeploymentStatus.model_validate(status).dump())) < 32 * 1024


def test_reasons_are_words_with_a_sentence_each() -> None:
    assert len({reason.value for reason in Reason}) == len(list(Reason))
    for reason in Reason:
        assert re.fullmatch(r"[A-Z][A-Za-z]+", reason), reason
        assert reason.name == re.sub(r"(?<=[a-z])(?=[A-Z])", "_", reason.value).upper()
        assert reason.meaning.endswith("."), reason
        assert "|" not in reason.meaning


def test_every_reason_of_the_examples_is_documented() -> None:
    told = {word for path in STATUSES for word in re.findall(r"\breason: (\w+)", path.read_text())}
    assert told <= {reason.value for reason in Reason}


def test_the_api_loads_without_the_operators_or_the_jobs_libraries() -> None:
    heavy = "kopf kubernetes aiohttp grpc torch numpy onnx onnxruntime"
    code = f"import sys, slipway.api; print([m for m in {heavy.split()} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
