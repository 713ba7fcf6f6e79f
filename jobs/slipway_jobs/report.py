"""The Report on its way out: whole to the store, in at most 4096 bytes to the termination message."""

import json
import os
import traceback
from pathlib import Path
from typing import Any

from slipway.contract.config import TERMINATION_PATH, JobConfig
from slipway.contract.report import (
    CompressReport,
    DatasetReport,
    EvaluateReport,
    ExitCode,
    Outcome,
    ToolReport,
    TrainReport,
    VerifyReport,
)
from slipway_jobs.failure import Failure
from slipway_jobs.store import Store, join

LIMIT = 4096
KINDS: dict[str, type[Outcome]] = {
    "dataset": DatasetReport,
    "train": TrainReport,
    "evaluate": EvaluateReport,
    "compress": CompressReport,
    "verify": VerifyReport,
    "fetch": ToolReport,
    "probe": ToolReport,
    "receive": ToolReport,
    "send": ToolReport,
}


def failed(task: str, attempt: int, failure: Failure) -> Outcome:
    return KINDS[task](
        outcome="Failed",
        reason=failure.reason,
        message=failure.message,
        exit_code=int(failure.exit_code),
        attempt=attempt,
    )


def unexpected(error: BaseException) -> Failure:
    """A fault of ours: the log has the traceback, the message what it ends with and where that was."""
    traceback.print_exception(error)
    said = "".join(traceback.format_exception_only(error)).strip()[:600]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return Failure("InternalError", f"{said}{where}; the pod's log has the traceback.", ExitCode.INTERNAL)


def write(report: Outcome, path: str | None = None) -> None:
    """To the termination message, trimmed if need be but always whole JSON."""
    target = path or os.environ.get("SLIPWAY_TERMINATION_PATH", TERMINATION_PATH)
    Path(target).write_text(fit(report))


def keep(report: Outcome, store: Store, folder_uri: str, config: JobConfig) -> None:
    """The whole report beside the artefact."""
    store.write(join(folder_uri, "report.json"), report.to_json().encode())
    print(f"{config.task.task}: report at {store.resolve(join(folder_uri, 'report.json'))}", flush=True)


def fit(report: Outcome, limit: int = LIMIT) -> str:
    """JSON of at most `limit` bytes. What is for people goes first, figures last, the outcome never."""
    document = report.model_dump(mode="json", by_alias=True, exclude_none=True)
    for trim in (_log_tail, _notes, _message, _profile, _classes, _metrics):
        text = _dump(document)
        if len(text.encode()) <= limit:
            return text
        trim(document)
    text = _dump(document)
    if len(text.encode()) <= limit:
        return text
    head: dict[str, Any] = {
        key: document[key]
        for key in ("version", "task", "outcome", "reason", "exitCode", "attempt")
        if key in document
    }
    head["message"] = (
        "The report is too long for the termination message; see report.json beside the artefact."
    )
    return _dump(head)


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _log_tail(document: dict[str, Any]) -> None:
    if "logTail" in document:
        document["logTail"] = document["logTail"].encode()[-1000:].decode(errors="ignore")


def _notes(document: dict[str, Any]) -> None:
    for variant in document.get("variants", []):
        variant.pop("notes", None)


def _message(document: dict[str, Any]) -> None:
    document.pop("logTail", None)
    if "message" in document:
        document["message"] = document["message"].encode()[:1500].decode(errors="ignore")


def _profile(document: dict[str, Any]) -> None:
    if "profile" in document:
        document["profile"] = document["profile"][:4]


def _classes(document: dict[str, Any]) -> None:
    signature = document.get("artifact", document).get("signature", {})
    for tensor in [*signature.get("inputs", []), *signature.get("outputs", [])]:
        tensor.pop("classes", None)


def _metrics(document: dict[str, Any]) -> None:
    del document.get("variants", [])[8:]
