import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from slipway.contract.config import TrainTask
from slipway.contract.report import ExitCode, Outcome, TrainReport
from slipway_jobs import launcher, report
from slipway_jobs.failure import Failure


def failed(reason: str, code: ExitCode) -> Outcome:
    return report.failed("train", 2, Failure(reason, "m", code))


def judge(status: int, reports: list[Outcome] | None = None, oom: int = 0, stopped: bool = False) -> Outcome:
    return launcher.judge(2, status, reports or [], oom, stopped, "the end of the log\n")


def test_rank_0s_report_counts() -> None:
    told = TrainReport(outcome="Succeeded", steps=5, attempt=2)
    assert judge(0, [told, TrainReport(outcome="Succeeded")]) == told
    assert judge(0).outcome == "Succeeded"  # a node without rank 0


def test_the_worker_that_failed_first_is_believed_not_those_it_left_alone() -> None:
    told = judge(
        1, [failed("CommunicationLost", ExitCode.COMMUNICATION), failed("LossNotFinite", ExitCode.USER_ERROR)]
    )
    assert (told.reason, told.exit_code) == ("LossNotFinite", ExitCode.USER_ERROR)
    assert told.model_dump()["log_tail"] == "the end of the log\n"


@pytest.mark.parametrize("status", [-9, 137, 1])
def test_a_kill_at_the_memory_limit_is_called_that(status: int) -> None:
    told = judge(status, oom=1)
    assert (told.reason, told.exit_code) == ("OutOfMemory", ExitCode.OUT_OF_MEMORY)
    assert "trainer.resourcesPerNode.limits.memory" in str(told.message)
    peers = judge(status, [failed("CommunicationLost", ExitCode.COMMUNICATION)], oom=1)
    assert peers.reason == "OutOfMemory"


def test_other_ends_have_their_own_words() -> None:
    assert judge(-15, stopped=True).exit_code == ExitCode.PREEMPTED
    killed = judge(-11)
    assert (killed.reason, killed.message) == (
        "WorkerKilled",
        "A training process was ended by signal SIGSEGV; the end of its log is in logTail.",
    )
    assert (
        judge(3).message == "Training ended with exit code 3 and no report; the end of its log is in logTail."
    )


def task(**changes: Any) -> TrainTask:
    return TrainTask.model_validate(
        {
            "dataset": {"name": "d", "digest": "x", "storageUri": "store://d"},
            "model": {},
            "hyperparameters": {"epochs": 1},
            "checkpointUri": "store://c",
            "outputUri": "store://o",
            **changes,
        }
    )


def test_torchrun_is_used_for_more_than_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PET_")]:
        monkeypatch.delenv(name)
    assert launcher.command(task())[1:] == ["-m", "slipway_jobs", "train-worker"]
    two = launcher.command(task(numProcPerNode=2))
    assert "--standalone" in two
    assert "--nproc-per-node=2" in two
    monkeypatch.setenv("PET_NNODES", "2")
    monkeypatch.setenv("PET_NPROC_PER_NODE", "1")
    monkeypatch.setenv("PET_MASTER_ADDR", "run-0.run")
    nodes = launcher.command(task(numNodes=2))
    assert nodes[1:] == [
        "-m",
        "torch.distributed.run",
        "--max-restarts=0",
        "-m",
        "slipway_jobs",
        "train-worker",
    ]


@pytest.fixture
def pod(tmp_path: Path, tasks: Any, root: Path) -> Any:
    """`slipway-jobs train` as a process, the way a pod runs it."""

    def start(**changes: Any) -> tuple["subprocess.Popen[bytes]", Path]:
        told = tasks.config(tasks.train_task(tasks.prepare(), **changes))
        (tmp_path / "job.json").write_text(told.to_json())
        environment = {
            **os.environ,
            "SLIPWAY_CONFIG": str(tmp_path / "job.json"),
            "SLIPWAY_TERMINATION_PATH": str(tmp_path / "termination-log"),
        }
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "slipway_jobs", "train"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return process, tmp_path / "termination-log"

    return start


def test_two_processes_train_together_and_sigterm_ends_them_with_a_checkpoint(
    pod: Any, tmp_path: Path
) -> None:
    process, message = pod(
        numProcPerNode=2,
        hyperparameters={"epochs": 5000, "batchSize": 64, "learningRate": 0.01},
        checkpointsKeep=1,
    )
    ends = time.monotonic() + 120
    while b"epoch 2/" not in (tmp_path / "log").read_bytes():
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < ends, (tmp_path / "log").read_text()
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == ExitCode.PREEMPTED
    told = TrainReport.model_validate(json.loads(message.read_text()))
    assert told.reason == "Stopped"
    assert told.checkpoint is not None
    assert told.checkpoint.step == told.steps > 0
    assert told.log_tail
    assert len(message.read_bytes()) <= 4096
