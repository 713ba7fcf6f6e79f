"""Task train, in one process of a run: train, save, resume, evaluate what was exported, publish it.

The launcher (PID 1 of the pod) starts this, alone or once per process by torchrun.
"""

import copy
import json
import math
import os
import signal
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from slipway.contract.config import JobConfig, TrainTask
from slipway.contract.report import ExitCode, Progress, TrainReport
from slipway_jobs import (
    dataset,
    digest,
    evaluate,
    export,
    inference,
    models,
    processes,
    recipe,
    report,
    samples,
)
from slipway_jobs.checkpoint import Checkpoints, Snapshot
from slipway_jobs.dataset import Prepared
from slipway_jobs.failure import Failure, InvalidConfig, Stopped
from slipway_jobs.figures import round_to
from slipway_jobs.formats import Rows
from slipway_jobs.model_files import publish
from slipway_jobs.processes import Process
from slipway_jobs.progress import Reporter
from slipway_jobs.store import Store
from slipway_jobs.workspace import workspace

TOLD_EVERY = 5.0
"""Seconds between lines in the log and progress updates."""
CURVE = 500
"""Points of the loss curve that are kept."""


def run(config: JobConfig, task: TrainTask, store: Store) -> TrainReport:
    before = signal.getsignal(signal.SIGTERM)
    process = processes.join()
    run = None
    try:
        run = Run(config, task, store, process)
        return run.complete()
    except Failure as failure:
        told = report.failed("train", config.attempt, failure)
        assert isinstance(told, TrainReport), "the report of train"
        if run is None:
            return told
        # What the next attempt can go on from is part of how this one ended.
        found = {"checkpoint": run.checkpoints.newest, "resumed_from_step": run.resumed, "steps": run.step}
        return told.model_copy(update=found)
    finally:
        process.leave()
        # Only now: a second SIGTERM (torchrun sends one when a peer left first) must not cut off the saving.
        signal.signal(signal.SIGTERM, before)


class Run:
    """One run in one process."""

    def __init__(self, config: JobConfig, task: TrainTask, store: Store, process: Process) -> None:
        self.config, self.task, self.store, self.process = config, task, store, process
        self.told = task.hyperparameters
        recipe.check_augmentation(task.dataset.augmentation)
        if self.told.batch_size % process.world:
            raise InvalidConfig(
                f"hyperparameters.batchSize is {self.told.batch_size}; {process.world} processes share it, so it"
                f" must be a multiple of {process.world}."
            )
        self.data = self._load()
        self.train = self.data.rows("train")
        self.data.rows(task.evaluation_split)  # a split that is not there is told now, not after the training
        self.rows = len(self.train) + -len(self.train) % process.world
        self.steps_per_epoch = math.ceil(self.rows / self.told.batch_size)
        self.total_steps = self.steps_per_epoch * self.told.epochs
        torch.manual_seed(self.told.seed)
        tensor = self.data.schema.inputs[0]
        self.shape = tensor.shape
        self.model = models.build(task.model, tensor.shape, self.data.preprocessing, len(self.data.classes))
        # torch's stubs leave out this documented form of to().
        self.model.to(process.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parallel: nn.Module = DistributedDataParallel(self.model) if process.world > 1 else self.model
        self.optimizer = recipe.optimizer(self.model, self.told)
        self.schedule = recipe.schedule(self.optimizer, self.told, self.total_steps)
        self.step = 0
        self.resumed: int | None = None
        self.history: dict[str, Any] = {"curve": [], "epochs": []}
        self.stopped = False
        self.checkpoints = Checkpoints(
            store, task.checkpoint_uri, workspace("checkpoints"), self._fingerprint(), task.checkpoints_keep
        )
        self.reporter = Reporter(task.progress if process.reports else None, config.owner)

    def complete(self) -> TrainReport:
        signal.signal(signal.SIGTERM, self._stop)
        self._resume()
        self._began = self._saved = self._spoke = time.monotonic()
        try:
            while self.step < self.total_steps:
                self._epoch(self.step // self.steps_per_epoch)
            seconds = time.monotonic() - self._began
            self.checkpoints.close()
            if not self.process.reports:
                return self._report(seconds)
            return self._publish(seconds)
        finally:
            self.reporter.close()

    def _load(self) -> Prepared:
        """One process of a node brings the data, the others wait for it."""
        folder = workspace("dataset")
        if self.process.world > 1:
            if int(os.environ.get("LOCAL_RANK", "0")) == 0:
                dataset.load(self.task.dataset, self.store, folder)
            torch.distributed.barrier()
        prepared = dataset.load(self.task.dataset, self.store, folder)
        if prepared.schema.target_type != "Class":
            raise InvalidConfig(
                "The dataset's target is a Number; built-in models are trained on type Class."
            )
        return prepared

    def _fingerprint(self) -> str:
        """Of all that a checkpoint must agree with to be gone on from."""
        told = [
            self.config.owner.uid,
            self.task.dataset.model_dump(mode="json", exclude={"storage_uri", "name"}),
            self.task.model.model_dump(mode="json"),
            self.told.model_dump(mode="json"),
        ]
        return digest.of_text(json.dumps(told, sort_keys=True))

    def _resume(self) -> None:
        found = self.checkpoints.newest_whole()
        step = found[1] if found is not None else 0
        # Each process reads the store by itself; with different answers they would wait for each other for ever.
        if self.process.any(step != self.process.highest(step)):
            raise Failure(
                "StoreUnreachable", "The processes found different checkpoints in the store.", ExitCode.STORE
            )
        if found is None:
            return
        state, self.step = found
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.history = state["history"]
        torch.set_rng_state(state["rng"])
        self.resumed = self.step
        print(f"train: goes on from step {self.step} of {self.total_steps}", flush=True)

    def _epoch(self, epoch: int) -> None:
        """From the current step to the end of its epoch."""
        order = recipe.order(len(self.train), self.told.seed, epoch, self.process.world)
        self.parallel.train()
        end = (epoch + 1) * self.steps_per_epoch
        while self.step < end:
            if self.process.any(self.stopped):
                self._leave()
            within = self.step % self.steps_per_epoch
            batch = order[within * self.told.batch_size : (within + 1) * self.told.batch_size]
            loss = self._learn(
                batch[self.process.rank :: self.process.world], (self.told.seed, epoch, within)
            )
            self.step += 1
            if self.step % max(1, self.total_steps // CURVE) == 0 or self.step == self.total_steps:
                self.history["curve"].append([self.step, round_to(loss)])
            now = time.monotonic()
            if now - self._spoke >= TOLD_EVERY:
                self._tell(loss)
            # At the end of an epoch only with its validation: going on from there must not leave it out.
            if now - self._saved >= self.task.checkpoint_interval_seconds and self.step < end:
                self._save()
        self._validate(epoch)

    def _learn(self, rows: "np.ndarray[Any, Any]", place: tuple[int, int, int]) -> float:
        device = self.process.device
        raw = torch.from_numpy(np.ascontiguousarray(self.train.inputs[rows])).to(device)
        raw = recipe.augment(raw, self.shape, self.task.dataset.augmentation, (*place, self.process.rank))
        targets = torch.from_numpy(np.ascontiguousarray(self.train.targets[rows])).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.told.precision == "BF16"):
            loss = nn.functional.cross_entropy(self.parallel(raw), targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        self.optimizer.step()
        self.schedule.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise Failure(
                "LossNotFinite",
                f"The loss is {value} at step {self.step + 1}; lower hyperparameters.learningRate "
                f"({self.told.learning_rate:g}), or use precision FP32.",
                ExitCode.USER_ERROR,
            )
        return value

    def _validate(self, epoch: int) -> None:
        """Loss and accuracy on the validation split, each process its share."""
        entry: dict[str, Any] = {"epoch": epoch + 1, "step": self.step}
        if "validation" in self.data.splits:
            entry |= self._measure(self.data.rows("validation"))
        self.history["epochs"].append(entry)
        figures = ", ".join(
            f"{name} {value:.4f}" for name, value in entry.items() if name not in ("epoch", "step")
        )
        if self.process.reports:
            print(f"train: epoch {epoch + 1}/{self.told.epochs} {figures}", flush=True)
        self._tell(self.history["curve"][-1][1] if self.history["curve"] else None)
        scores = [told.get("validation_accuracy", 0.0) for told in self.history["epochs"]]
        if self.step < self.total_steps and scores[-1] >= max(scores):
            self._save(scores[-1])

    def _measure(self, rows: Rows) -> dict[str, float]:
        self.model.eval()
        loss = hits = 0.0
        size = max(self.told.batch_size, 256)
        with torch.no_grad():
            for start in range(self.process.rank * size, len(rows), self.process.world * size):
                raw = torch.from_numpy(np.array(rows.inputs[start : start + size])).to(self.process.device)
                targets = torch.from_numpy(np.array(rows.targets[start : start + size])).to(
                    self.process.device
                )
                with torch.autocast(
                    self.process.device.type, torch.bfloat16, enabled=self.told.precision == "BF16"
                ):
                    logits = self.model(raw)
                loss += float(nn.functional.cross_entropy(logits.float(), targets, reduction="sum"))
                hits += float((logits.argmax(dim=1) == targets).sum())
        loss, hits = self.process.sum([loss, hits])
        self.model.train()
        return {"validation_loss": loss / len(rows), "validation_accuracy": hits / len(rows)}

    def _save(self, score: float | None = None) -> None:
        """With a score only where the validation was done at this very step."""
        self._saved = time.monotonic()
        if not self.process.reports:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
            "rng": torch.get_rng_state(),
        }
        self.checkpoints.save(Snapshot(self.step, score, copy.deepcopy(state)))

    def _stop(self, number: int, frame: object) -> None:
        self.stopped = True

    def _leave(self) -> None:
        """SIGTERM: what was learnt is saved, and the next attempt goes on from here."""
        self._save()
        self.checkpoints.flush()
        newest = self.checkpoints.newest
        kept = (
            f"a checkpoint of step {newest.step} is in the store" if newest else "no checkpoint could be kept"
        )
        raise Stopped(f"Stopped at step {self.step} of {self.total_steps}; {kept}.")

    def _tell(self, loss: float | None) -> None:
        """A line for people, and progress for the operator."""
        now = time.monotonic()
        done = self.step - (self.resumed or 0)
        remaining = (now - self._began) / max(done, 1) * (self.total_steps - self.step)
        self._spoke = now
        if not self.process.reports:
            return
        metrics = {} if loss is None else {"train_loss": round_to(loss)}
        last = self.history["epochs"][-1] if self.history["epochs"] else {}
        metrics |= {name: round_to(value) for name, value in last.items() if name.startswith("validation_")}
        print(
            f"step {self.step}/{self.total_steps}" + (f" loss {loss:.4f}" if loss is not None else ""),
            flush=True,
        )
        self.reporter.update(
            Progress(
                percent=100 * self.step // self.total_steps,
                step=self.step,
                total_steps=self.total_steps,
                epoch=min(self.step // self.steps_per_epoch + 1, self.told.epochs),
                epochs=self.told.epochs,
                remaining_seconds=round(remaining, 1),
                metrics=metrics,
                checkpoint=self.checkpoints.newest,
                attempt=self.config.attempt,
            )
        )

    def _publish(self, seconds: float) -> TrainReport:
        """Exports, measures the very file that will be served, uploads."""
        folder = workspace("output")
        file = export.write(self.model, self.data, folder)
        running = inference.session(file)
        rows = self.data.rows(self.task.evaluation_split)
        logits = evaluate.predict(running, rows, self.data.classes)
        figures, document = evaluate.measure(logits, rows.targets, self.data.classes)
        document |= {"split": self.task.evaluation_split, "training": self.history}
        (folder / evaluate.REPORT).write_text(json.dumps(document))
        signature = inference.signature(inference.read(file))
        chosen = samples.choose(logits, np.asarray(rows.targets))
        samples.save(samples.of_rows(running, rows, signature, chosen), folder)
        artifact = publish(folder, self.store, self.task.output_uri)
        uri = artifact.storage_uri + evaluate.REPORT
        result = self._report(seconds).model_copy(
            update={
                "artifact": artifact,
                "evaluation": evaluate.summary(figures, self.task.evaluation_split, len(rows), uri),
                "measurements": figures.measurements(self.task.gates),
            }
        )
        report.keep(result, self.store, self.task.output_uri, self.config)
        return result

    def _report(self, seconds: float) -> TrainReport:
        return TrainReport(
            outcome="Succeeded",
            attempt=self.config.attempt,
            steps=self.step,
            seconds=round(seconds, 1),
            resumed_from_step=self.resumed,
            checkpoint=self.checkpoints.newest,
        )
