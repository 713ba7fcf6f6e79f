"""`slipway-jobs <task>`: reads the JobConfig, runs the task, writes the Report, exits by its code.

Tasks are imported when they are run: fetch and probe must not need torch.
"""

import importlib
import os
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from slipway.contract.base import VERSION
from slipway.contract.config import CONFIG_PATH, JobConfig
from slipway.contract.report import ExitCode, Outcome
from slipway_jobs import report
from slipway_jobs.failure import Failure, InvalidConfig, Stopped
from slipway_jobs.store import Store

TASKS = ("dataset", "evaluate", "compress", "verify", "fetch", "probe")
COPIES = ("receive", "send")
"""Run by kubectl slipway push and pull, without a JobConfig."""


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in (*TASKS, "train", "train-worker", *COPIES):
        print(
            f"usage: slipway-jobs {'|'.join((*TASKS, 'train'))}, or slipway-jobs {'|'.join(COPIES)} URI",
            file=sys.stderr,
        )
        raise SystemExit(ExitCode.USER_ERROR)
    task = arguments[0]
    name = "train" if task == "train-worker" else task
    attempt = 1
    try:
        if task in COPIES:
            outcome = _copy(arguments)
        else:
            config = read_config(name)
            attempt = config.attempt
            outcome = _run(task, config)
    except Failure as failure:
        outcome = report.failed(name, attempt, failure)
    except Exception as error:
        outcome = report.failed(name, attempt, _classify(error))
    _finish(task, outcome)


def read_config(task: str) -> JobConfig:
    path = Path(os.environ.get("SLIPWAY_CONFIG", CONFIG_PATH))
    try:
        config = JobConfig.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InvalidConfig(f"{path}: no JobConfig is mounted there.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidConfig(f"{path}: {place}: {first['msg']} ({error.error_count()} errors).") from error
    if config.version > VERSION:
        raise InvalidConfig(
            f"{path} has version {config.version}, this image reads up to {VERSION}; update the image."
        )
    if config.task.task != task:
        raise InvalidConfig(f"{path} is for task {config.task.task}, not {task}.")
    return config


def _run(task: str, config: JobConfig) -> Outcome:
    if task == "train":
        from slipway_jobs import launcher

        return launcher.run(config, config.task)  # type: ignore[arg-type]  # read_config has checked the task
    module = importlib.import_module(f"slipway_jobs.{'train' if task == 'train-worker' else task}")
    signal.signal(signal.SIGTERM, _stopped)  # train and probe set their own
    result: Outcome = module.run(config, config.task, Store())
    return result


def _copy(arguments: list[str]) -> Outcome:
    if len(arguments) != 2:
        raise InvalidConfig(f"usage: slipway-jobs {arguments[0]} URI")
    module = importlib.import_module(f"slipway_jobs.{arguments[0]}")
    result: Outcome = module.run(arguments[1], Store())
    return result


def _stopped(number: int, frame: object) -> None:
    raise Stopped("Stopped by SIGTERM; nothing half-done is left, the next attempt begins anew.")


def _classify(error: Exception) -> Failure:
    """Errors of the libraries that have a class of their own."""
    text = str(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text.lower():
        return Failure(
            "OutOfMemory",
            f"No memory left ({text[:200]}). Raise the memory limit, or lower the batch size.",
            ExitCode.OUT_OF_MEMORY,
        )
    lost = type(error).__name__ in ("DistBackendError", "DistNetworkError", "DistStoreError")
    if (
        lost
        or "Connection closed by peer" in text
        or ("gloo" in text.lower() and isinstance(error, RuntimeError))
    ):
        return Failure(
            "CommunicationLost", f"The processes lost each other: {text[:300]}", ExitCode.COMMUNICATION
        )
    return report.unexpected(error)


def _finish(task: str, outcome: Outcome) -> None:
    if outcome.outcome == "Failed":
        print(f"{task}: {outcome.reason}: {outcome.message}", file=sys.stderr, flush=True)
    folder = os.environ.get("SLIPWAY_WORKER_REPORTS")
    if task == "train-worker" and folder:
        Path(folder, f"{os.environ.get('RANK', '0')}.json").write_text(outcome.to_json())
    else:
        report.write(outcome)
    raise SystemExit(outcome.exit_code)


if __name__ == "__main__":
    main()
