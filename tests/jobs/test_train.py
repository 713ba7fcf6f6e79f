"""Training on a tiny dataset that can be learnt; what a disturbed run does is compared with an undisturbed one."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from slipway.contract.report import ExitCode
from slipway_jobs import train
from slipway_jobs.failure import Failure
from slipway_jobs.train import Run

pytestmark = pytest.mark.slow


def history(tasks: Any, name: str = "tiny") -> dict[str, Any]:
    told: dict[str, Any] = json.loads(tasks.store.read(f"store://models/{name}/evaluation.json"))["training"]
    return told


def weights(tasks: Any, name: str = "tiny") -> bytes:
    return bytes(tasks.store.read(f"store://models/{name}/model.safetensors"))


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """SIGTERM arrives while step `step` is being done."""
    learn = Run._learn

    def learning(self: Run, *arguments: Any) -> float:
        if self.step == step:
            signal.raise_signal(signal.SIGTERM)
        return learn(self, *arguments)

    monkeypatch.setattr(Run, "_learn", learning)


def test_a_run_gives_a_version_that_meets_its_gates(tasks: Any) -> None:
    made = tasks.run(tasks.train_task(tasks.prepare()))
    assert made.outcome == "Succeeded"
    assert made.steps == 21
    assert made.evaluation.metrics["accuracy"] > 0.9
    accuracy, recall = made.measurements
    assert accuracy.lower < accuracy.value == made.evaluation.metrics["accuracy"]
    assert (accuracy.samples, recall.class_ in tasks.classes) == (60, True)
    assert made.artifact.files == 4
    assert made.artifact.signature.model_dump(exclude_none=True) == {
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 3], "classes": tasks.classes}],
    }


def test_a_run_that_is_stopped_goes_on_with_the_same_curve(
    tasks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tasks.prepare()
    tasks.run(
        tasks.train_task(dataset, outputUri="store://models/whole/", checkpointUri="store://runs/whole/")
    )
    with monkeypatch.context() as patch:
        stop_at(patch, 9)  # in the second epoch
        ended = tasks.run(tasks.train_task(dataset))
    assert ended.message == "Stopped at step 10 of 21; a checkpoint of step 10 is in the store."
    assert (ended.exit_code, ended.checkpoint.step) == (ExitCode.PREEMPTED, 10)
    made = tasks.run(tasks.train_task(dataset), attempt=2)
    assert made.resumed_from_step == 10
    assert history(tasks) == history(tasks, "whole")
    assert weights(tasks) == weights(tasks, "whole")


def test_a_run_that_is_killed_goes_on_from_its_last_whole_checkpoint(
    tasks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tasks.prepare()
    tasks.run(
        tasks.train_task(dataset, outputUri="store://models/whole/", checkpointUri="store://runs/whole/")
    )
    often = tasks.train_task(dataset, checkpointIntervalSeconds=0)
    with monkeypatch.context() as patch:
        learn = Run._learn

        def dying(self: Run, *arguments: Any) -> float:
            if self.step == 16:
                self.checkpoints.flush()
                raise KeyboardInterrupt
            return learn(self, *arguments)

        patch.setattr(Run, "_learn", dying)
        with pytest.raises(KeyboardInterrupt):
            tasks.run(often)
    # The newest checkpoint was cut while it was written: it must not count.
    steps = sorted({int(e.path.split("/")[0]) for e in tasks.store.entries("store://runs/tiny/checkpoints/")})
    tasks.store.write(f"store://runs/tiny/checkpoints/{steps[-1]}/state.pt", b"half")
    made = tasks.run(often, attempt=2)
    assert made.resumed_from_step == steps[-2] < 16
    assert weights(tasks) == weights(tasks, "whole")
    assert history(tasks) == history(tasks, "whole")


def test_a_run_of_the_same_name_begins_anew(tasks: Any) -> None:
    dataset = tasks.prepare()
    tasks.run(tasks.train_task(dataset, checkpointIntervalSeconds=0))
    assert tasks.run(tasks.train_task(dataset), uid="another").resumed_from_step is None


def test_the_newest_two_and_the_best_checkpoint_are_kept(tasks: Any) -> None:
    tasks.run(tasks.train_task(tasks.prepare(), checkpointIntervalSeconds=0))
    marks = {
        entry.path.split("/")[0]: json.loads(tasks.store.read(f"store://runs/tiny/checkpoints/{entry.path}"))
        for entry in tasks.store.entries("store://runs/tiny/checkpoints/")
        if entry.path.endswith("checkpoint.json")
    }
    assert 2 <= len(marks) <= 3
    assert all(mark["size"] > 1000 for mark in marks.values())


def test_a_store_that_is_down_for_checkpoints_does_not_end_the_run(
    tasks: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    upload = tasks.store.upload

    def down(folder: Path, uri: str, last: str | None = None) -> None:
        if "checkpoints" in uri:
            raise Failure("StoreUnreachable", "Can't reach the store.", ExitCode.STORE)
        upload(folder, uri, last)

    monkeypatch.setattr(tasks.store, "upload", down)
    assert tasks.run(tasks.train_task(tasks.prepare(), checkpointIntervalSeconds=0)).outcome == "Succeeded"
    assert "not kept: Can't reach the store." in capfd.readouterr().err


def test_what_is_served_is_what_was_trained(tasks: Any, tmp_path: Path) -> None:
    tasks.run(tasks.train_task(tasks.prepare(), model={"cnn": {"width": 4, "blocks": [1, 1]}}))
    tasks.store.download("store://models/tiny/", tmp_path / "model")
    running = onnxruntime.InferenceSession(
        str(tmp_path / "model" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    for rows in (1, 5):  # any batch
        assert running.run(None, {"image": np.zeros((rows, 8, 8), np.uint8)})[0].shape == (rows, 3)
    assert b"/site-packages/" not in (tmp_path / "model" / "model.onnx").read_bytes()


def test_bf16_learns_too(tasks: Any) -> None:
    task = tasks.train_task(tasks.prepare())
    task["hyperparameters"] |= {
        "precision": "BF16",
        "optimizer": "AdamW",
        "learningRate": 0.01,
        "schedule": "Cosine",
    }
    assert tasks.run(task).evaluation.metrics["accuracy"] > 0.8


def test_a_loss_that_explodes_says_what_to_lower(tasks: Any) -> None:
    task = tasks.train_task(tasks.prepare())
    task["hyperparameters"] |= {"learningRate": 1e30}
    ended = tasks.run(task)
    assert (ended.reason, ended.exit_code) == ("LossNotFinite", ExitCode.USER_ERROR)
    assert re.match(
        r"The loss is \w+ at step \d+; lower hyperparameters\.learningRate \(1e\+30\)", ended.message
    )


def test_a_split_that_is_not_there_is_told_before_the_training(
    tasks: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    ended = tasks.run(tasks.train_task(tasks.prepare(), evaluationSplit="holdout"))
    assert ended.message == "The dataset has no split holdout; it has train, validation, test."
    assert "step" not in capfd.readouterr().out


def test_an_unknown_augmentation_is_refused(tasks: Any) -> None:
    task = tasks.train_task(tasks.prepare())
    task["dataset"]["augmentation"] = [{"mixup": {}}]
    assert tasks.run(task).message == "augmentation[0] is mixup; allowed is randomHorizontalFlip."


def test_flips_are_of_the_width_and_of_the_place(tasks: Any) -> None:
    raw = torch.arange(24, dtype=torch.uint8).reshape(1, 2, 4, 3).repeat(64, 1, 1, 1)
    steps = [{"randomHorizontalFlip": {"probability": 0.5}}]
    one = train.recipe.augment(raw, [2, 4, 3], steps, (0, 1, 2, 0))
    again = train.recipe.augment(raw, [2, 4, 3], steps, (0, 1, 2, 0))
    other = train.recipe.augment(raw, [2, 4, 3], steps, (0, 1, 3, 0))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    flipped = [row for row in one if not torch.equal(row, raw[0])]
    assert 15 < len(flipped) < 50
    assert all(torch.equal(row, raw[0].flip(1)) for row in flipped)
