import json
import os
import signal
import socket
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

pytestmark = pytest.mark.slow


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


def test_nodes_that_do_not_find_each_other_have_lost_communication() -> None:
    tail = (
        "    self._store = TCPStore(\n"
        "torch.distributed.DistNetworkError: The client socket has timed out after 720000ms while trying to"
        " connect to (run-1-0.run-1, 29500).\n"
    )
    told = launcher.judge(1, 1, [], 0, False, tail)
    assert (told.reason, told.exit_code) == ("CommunicationLost", ExitCode.COMMUNICATION)
    assert told.message == (
        "The nodes did not find each other: The client socket has timed out after 720000ms while trying to"
        " connect to (run-1-0.run-1, 29500)."
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


@pytest.fixture
def gang(tmp_path: Path, tasks: Any, root: Path) -> Any:
    """Two `slipway-jobs train`, each as the pod of a node: own folders, one store, the environment of manifests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    prepared = tasks.prepare()
    started: list[subprocess.Popen[bytes]] = []

    def start(attempt: int = 1, **changes: Any) -> list[tuple["subprocess.Popen[bytes]", Path]]:
        told = tasks.config(tasks.train_task(prepared, numNodes=2, **changes), attempt=attempt)
        pods = []
        for rank in ("0", "1"):
            home = tmp_path / f"pod-{attempt}-{rank}"
            home.mkdir()
            (home / "job.json").write_text(told.to_json())
            environment = {
                **os.environ,
                "SLIPWAY_CONFIG": str(home / "job.json"),
                "SLIPWAY_TERMINATION_PATH": str(home / "termination-log"),
                "SLIPWAY_WORKSPACE": str(home / "workspace"),
                "PET_NNODES": "2",
                "PET_NPROC_PER_NODE": "1",
                "PET_NODE_RANK": rank,
                "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": str(port),
                "PET_RDZV_CONF": "timeout=60",
            }
            with (home / "log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "slipway_jobs", "train"],
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            started.append(process)
            pods.append((process, home))
        return pods

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()


def wait_for(text: bytes, home: Path) -> None:
    ends = time.monotonic() + 120
    while text not in (home / "log").read_bytes():
        assert time.monotonic() < ends, (home / "log").read_text()
        time.sleep(0.2)


def told_by(home: Path) -> TrainReport:
    return TrainReport.model_validate_json((home / "termination-log").read_bytes())


def test_a_node_whose_worker_is_killed_ends_before_the_node_that_lost_it(gang: Any) -> None:
    """Kubernetes keeps the first pod that fails: that must be the one to blame."""
    long = {"epochs": 5000, "batchSize": 64, "learningRate": 0.01}
    (zero, home_zero), (one, home_one) = gang(hyperparameters=long, checkpointIntervalSeconds=0)
    wait_for(b"epoch 2/", home_zero)
    for worker in workers_of(one.pid):
        os.kill(worker, signal.SIGKILL)
    assert one.wait(60) == ExitCode.INTERNAL
    wait_for(b"lost another node", home_zero)
    assert zero.poll() is None
    zero.send_signal(signal.SIGTERM)  # as the Job controller does now
    assert zero.wait(20) == ExitCode.COMMUNICATION
    assert told_by(home_one).reason == "WorkerKilled"
    assert "signal SIGKILL" in str(told_by(home_one).message)
    lost = told_by(home_zero)
    assert lost.reason == "CommunicationLost"

    (zero, home_zero), (one, home_one) = gang(
        attempt=2, hyperparameters=long, checkpointIntervalSeconds=0, checkpointsKeep=1
    )
    wait_for(b"goes on from step", home_zero)
    wait_for(b"goes on from step", home_one)
    one.send_signal(signal.SIGTERM)  # one node is drained: both leave at the same step, with a checkpoint
    assert (zero.wait(60), one.wait(60)) == (ExitCode.PREEMPTED, ExitCode.PREEMPTED)
    assert told_by(home_zero).checkpoint is not None
    assert told_by(home_zero).steps == told_by(home_one).steps


def test_two_nodes_make_one_model_in_as_many_steps_as_one_node(gang: Any) -> None:
    """batchSize is that of all nodes together; node 0 exports and reports."""
    (zero, home_zero), (one, home_one) = gang()
    assert (zero.wait(120), one.wait(120)) == (0, 0)
    made, other = told_by(home_zero), told_by(home_one)
    assert made.artifact is not None
    assert made.evaluation is not None
    assert made.evaluation.metrics["accuracy"] > 0.9
    assert made.steps == 21
    assert other.artifact is None


def workers_of(launcher: int) -> list[int]:
    """Processes of the training below a launcher: its torchrun's children."""
    return [
        worker
        for agent in children(launcher)
        for worker in children(agent)
        if b"train-worker" in Path(f"/proc/{worker}/cmdline").read_bytes()
    ]


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
