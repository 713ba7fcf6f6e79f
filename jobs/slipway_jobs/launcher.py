"""PID 1 of a training pod: starts the process or torchrun, hands on SIGTERM, tells how it ended.

torchrun exits with 1 whatever its workers exit with, and a worker that is killed writes nothing; so each worker
leaves its report in a file, and this process makes the one Report from files, exit status and the cgroup.

Of several nodes, the first pod that fails ends the Job, and Kubernetes removes the others with their reports. So a
node that only lost another one holds back: the one that failed by itself must be the first to end.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import IO

from slipway.contract.config import JobConfig, TrainTask
from slipway.contract.report import ExitCode, Outcome, TrainReport
from slipway_jobs import report
from slipway_jobs.failure import Failure

REPORTS_ENV = "SLIPWAY_WORKER_REPORTS"
"""Folder where each worker leaves <rank>.json."""
TAIL = 40
"""Lines of the log that are kept for the Report."""
AGENT_LOST = re.compile(r"^torch\.distributed\.Dist(?:Network|Store)Error: (.*)$", re.MULTILINE)
"""What torchrun itself ends with where it can't reach the other nodes; no worker has begun by then."""
AGENT_KILLED = re.compile(r"^\s*traceback\s*: Signal (\d+) ", re.MULTILINE)
"""How torchrun tells that a worker was killed."""
HELD_BACK = 30.0
"""Seconds in which the node that is to blame must have ended: torchrun gives its other workers so long to stop."""


def run(config: JobConfig, task: TrainTask) -> Outcome:
    """Starts the workers and waits; the Report of rank 0, or the failure that came first."""
    with tempfile.TemporaryDirectory() as temporary:
        reports = Path(temporary)
        kills = oom_kills()
        child = subprocess.Popen(
            command(task),
            env={**os.environ, REPORTS_ENV: temporary},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        told_to_stop = threading.Event()

        def stop(number: int, frame: object) -> None:
            told_to_stop.set()
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)

        signal.signal(signal.SIGTERM, stop)
        assert child.stdout is not None, "asked for a pipe above"
        tail = _copy(child.stdout)
        status = child.wait()
        told = judge(config.attempt, status, _read(reports), oom_kills() - kills, told_to_stop.is_set(), tail)
        if task.num_nodes > 1 and told.exit_code == ExitCode.COMMUNICATION:
            _hold_back(told_to_stop)
        return told


def _hold_back(told_to_stop: threading.Event) -> None:
    """Until SIGTERM, which comes when another pod has failed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if not told_to_stop.is_set():
        print(f"train: lost another node; waits up to {HELD_BACK:g}s for it to say why", flush=True)
        signal.sigtimedwait({signal.SIGTERM}, HELD_BACK)


def command(task: TrainTask) -> list[str]:
    """One process by itself; more, or more nodes, by torchrun, which takes the rest from PET_*."""
    worker = ["-m", "slipway_jobs", "train-worker"]
    if task.num_nodes == 1 and task.num_proc_per_node == 1:
        return [sys.executable, *worker]
    torchrun = ["-m", "torch.distributed.run", "--max-restarts=0"]
    told = {
        "PET_NNODES": f"--nnodes={task.num_nodes}",
        "PET_NPROC_PER_NODE": f"--nproc-per-node={task.num_proc_per_node}",
    }
    torchrun += [flag for name, flag in told.items() if name not in os.environ]
    if task.num_nodes == 1 and "PET_MASTER_ADDR" not in os.environ:
        torchrun.append("--standalone")
    return [sys.executable, *torchrun, *worker]


def judge(
    attempt: int, status: int, reports: list[Outcome], oom_killed: int, told_to_stop: bool, tail: str
) -> Outcome:
    """What became of the workers."""
    if status == 0:
        # Rank 0's report counts; a node without rank 0 only says that its part is done.
        return next((found for found in reports), TrainReport(outcome="Succeeded", attempt=attempt))
    failures = [found for found in reports if found.outcome == "Failed"]
    # A rank whose peer died reports lost communication; the peer's own words come first.
    failures.sort(key=lambda found: found.exit_code == ExitCode.COMMUNICATION)
    if failures and not (oom_killed and failures[0].exit_code == ExitCode.COMMUNICATION):
        return failures[0].model_copy(update={"log_tail": tail})
    failure = _unreported(status, oom_killed, told_to_stop, tail)
    return report.failed("train", attempt, failure).model_copy(update={"log_tail": tail})


def _unreported(status: int, oom_killed: int, told_to_stop: bool, tail: str) -> Failure:
    number = -status if status < 0 else status - 128 if status > 128 else 0
    if by_signal := AGENT_KILLED.search(tail):
        number = int(by_signal[1])
    if oom_killed:
        return Failure(
            "OutOfMemory",
            "The kernel killed a training process at the memory limit. Raise "
            "trainer.resourcesPerNode.limits.memory, or lower hyperparameters.batchSize.",
            ExitCode.OUT_OF_MEMORY,
        )
    if told_to_stop:
        return Failure(
            "Preempted", "Stopped by SIGTERM before a checkpoint could be saved.", ExitCode.PREEMPTED
        )
    if lost := AGENT_LOST.search(tail):
        said = f"The nodes did not find each other: {lost[1][:300]}"
        return Failure("CommunicationLost", said, ExitCode.COMMUNICATION)
    if number:
        return Failure(
            "WorkerKilled",
            f"A training process was ended by signal {signal.Signals(number).name}; the end of its log is in logTail.",
            ExitCode.INTERNAL,
        )
    return Failure(
        "WorkerFailed",
        f"Training ended with exit code {status} and no report; the end of its log is in logTail.",
        ExitCode.INTERNAL,
    )


def oom_kills() -> int:
    """Processes of this container that the kernel killed for memory, ever (cgroup v2)."""
    try:
        lines = Path("/sys/fs/cgroup/memory.events").read_text().splitlines()
    except OSError:  # cgroup v1, or no container: kubelet's OOMKilled remains
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def _copy(stream: IO[bytes]) -> str:
    """The child's output on to ours until it ends; its last lines."""
    lines: deque[str] = deque(maxlen=TAIL)
    for line in stream:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        lines.append(line.decode(errors="replace"))
    return "".join(lines)


def _read(folder: Path) -> list[Outcome]:
    """What the workers left, rank 0 first."""
    files = sorted(folder.glob("*.json"), key=lambda path: int(path.stem))
    return [TrainReport.model_validate_json(path.read_bytes()) for path in files]
