import json
from datetime import UTC, datetime

import pytest

from slipway.contract import progress_wire
from slipway.contract.report import Checkpoint, Progress

NOW = datetime(2026, 11, 24, 10, 0, 44, tzinfo=UTC)
PROGRESS = Progress(
    percent=61,
    step=258,
    total_steps=422,
    epoch=2,
    epochs=2,
    remaining_seconds=22,
    metrics={"train_loss": 0.3412, "validation_accuracy": 0.8871},
    checkpoint=Checkpoint(step=211, storage_uri="s3://b/211/", time="2026-11-24T10:00:38Z"),
    attempt=3,
)


def test_progress_comes_back_as_it_went() -> None:
    again = progress_wire.decode(progress_wire.encode(PROGRESS), NOW)
    assert again == PROGRESS.model_copy(update={"time": "2026-11-24T10:00:44Z"})


def test_what_kubeflow_reads_is_in_its_place() -> None:
    told = json.loads(progress_wire.encode(PROGRESS))["trainerStatus"]
    assert told == {
        "progressPercentage": 61,
        "estimatedRemainingSeconds": 22,
        "metrics": [
            {"name": "train_loss", "value": "0.3412"},
            {"name": "validation_accuracy", "value": "0.8871"},
        ],
    }


def test_a_client_of_kubeflow_is_understood() -> None:
    body = {
        "trainerStatus": {
            "progressPercentage": 5,
            "metrics": [{"name": "loss", "value": "1.5"}, {"name": "lr", "value": "high"}],
        }
    }
    told = progress_wire.decode(json.dumps(body).encode(), NOW)
    assert (told.percent, told.metrics, told.attempt) == (5, {"loss": 1.5}, 1)


def test_a_loss_that_is_no_number_does_not_stop_progress() -> None:
    told = progress_wire.decode(
        progress_wire.encode(Progress(percent=1, metrics={"train_loss": float("nan")})), NOW
    )
    assert (told.percent, told.metrics) == (1, {})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "progress can't be read"),
        (b"{}", "trainerStatus"),
        (b"\xff", "progress can't be read"),
        (b'{"trainerStatus": {"progressPercentage": 101}}', "progressPercentage is 101; it is from 0 to 100"),
        (b" " * 70000, "at most 65536 are read"),
        (
            json.dumps({"trainerStatus": {"metrics": [{"name": "m" * 65, "value": "1"}]}}).encode(),
            "over 64 characters",
        ),
        (
            json.dumps({"trainerStatus": {"metrics": [{"name": "m", "value": "1"}] * 257}}).encode(),
            "at most 256",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(body: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        progress_wire.decode(body, NOW)


def test_only_the_status_path_is_taken() -> None:
    assert progress_wire.parse_path(progress_wire.path("demo", "fashion-cnn-v1")) == (
        "demo",
        "fashion-cnn-v1",
    )
    for other in ("/", progress_wire.path("demo", "../x"), progress_wire.path("demo", "x") + "/y"):
        assert progress_wire.parse_path(other) is None
