"""What became of each Job of an object, read from the Job, its pods and its ConfigMap. Pure.

A Job runs one attempt; whether another follows is for the kind's decide to say.

    made --admitted--> started (a container ran) --Complete--> succeeded (report)
      \\--blocked (image, scheduler, Secret)      \\--Failed--> failed (class, reason, message)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from slipway import manifests
from slipway.api.reasons import Reason
from slipway.api.training_run import FailureClass
from slipway.cache import Objects
from slipway.contract import config
from slipway.contract.config import JobConfig
from slipway.contract.report import ExitCode, Outcome, Report
from slipway.decision import Target

REPORTS: TypeAdapter[Report] = TypeAdapter(Report)
REASONS = {reason.value: reason for reason in Reason}

# Exit codes of slipway-jobs: the class of the failure, and the reason where the report gives none.
EXITS: dict[int, tuple[FailureClass, Reason]] = {
    ExitCode.USER_ERROR: ("UserError", Reason.USER_ERROR),
    ExitCode.DATA: ("Data", Reason.SOURCE_UNREADABLE),
    ExitCode.STORE: ("Store", Reason.STORE_UNREACHABLE),
    ExitCode.PREEMPTED: ("Preempted", Reason.PREEMPTED),
    ExitCode.COMMUNICATION: ("Communication", Reason.COMMUNICATION_LOST),
    ExitCode.HANG: ("Hang", Reason.HUNG),
    ExitCode.OUT_OF_MEMORY: ("OutOfMemory", Reason.OUT_OF_MEMORY),
    # The pod tried several times already; only a person can choose a quieter node.
    ExitCode.INCONCLUSIVE: ("UserError", Reason.INCONCLUSIVE),
    ExitCode.INTERNAL: ("Internal", Reason.INTERNAL_ERROR),
}
IMAGE_WAITS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
# What registries and containerd say, and how it is said to people; kubelet alternates between two texts for
# one fault, so anything else is not quoted: it would be rewritten every few seconds.
IMAGE_FAULTS = (
    ("not found", "not found"),
    ("unauthorized", "the registry refuses the credentials; set pod.imagePullSecrets"),
    ("authorization failed", "the registry refuses the credentials; set pod.imagePullSecrets"),
    ("no such host", "the registry's host is unknown"),
    ("connection refused", "the registry doesn't answer"),
    ("timeout", "the registry doesn't answer"),
    ("couldn't parse image", "not the name of an image"),
    ("invalid reference format", "not the name of an image"),
)


@dataclass(frozen=True)
class Blocked:
    """Why the pods of an attempt don't start."""

    class_: FailureClass
    reason: Reason
    message: str


@dataclass(frozen=True)
class Failure:
    """How an attempt failed."""

    class_: FailureClass
    reason: Reason
    message: str
    time: datetime
    node: int | None = None
    exit_code: int | None = None
    log_tail: str | None = None


@dataclass(frozen=True)
class Attempt:
    """One Job."""

    number: int
    job: Target
    image: str
    suspended: bool
    queue: str | None
    created: datetime
    admitted: datetime | None = None
    """Since when the Job isn't suspended (Kubernetes sets it anew when it is resumed)."""
    pods: int = 1
    """That run together."""
    begun: int = 0
    """Of them, those whose container has run."""
    started: datetime | None = None
    """When the last of them began; None until all have."""
    finished: datetime | None = None
    report: Outcome | None = None
    """Of a success."""
    failure: Failure | None = None
    blocked: Blocked | None = None
    config: JobConfig | None = None
    """What its pods were told; None when the ConfigMap isn't known (yet)."""

    @property
    def under_way(self) -> bool:
        return self.report is None and self.failure is None


def of(objects: Objects, uid: str) -> tuple[Attempt, ...]:
    """The attempts of the object with this uid, by number."""
    found = [_read(objects, job) for job in objects.owned(uid, "Job")]
    return tuple(sorted(found, key=lambda attempt: (attempt.number, attempt.created)))


def held(attempt: Attempt) -> tuple[Reason, str] | None:
    """What an attempt under way waits for, in a word and a sentence; None: it runs."""
    if attempt.suspended and attempt.queue is not None:
        return Reason.QUEUED, f"Waiting for queue {attempt.queue} to admit it."
    if attempt.blocked is not None:
        return attempt.blocked.reason, attempt.blocked.message
    if attempt.started is None:
        return Reason.STARTING, waiting_for_pods(attempt.pods, attempt.begun)
    return None


def waiting_for_pods(pods: int, begun: int = 0) -> str:
    if pods == 1:
        return "Waiting for its pod to start."
    return f"Waiting for its {pods} pods to start" + (f", {begun} of {pods} run." if begun else ".")


def _read(objects: Objects, job: dict[str, Any]) -> Attempt:
    metadata, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    labels = metadata.get("labels") or {}
    pods = objects.owned(metadata["uid"], "Pod")
    number = int(labels.get(manifests.ATTEMPT, "1"))
    together, starts = int(spec.get("completions") or 1), _starts(pods)
    ended = _condition(status, "Complete") or _condition(status, "Failed")
    report = failure = None
    if ended is not None and not any(_is_running(pod) for pod in pods):
        report, failure = _outcome(ended, pods, _time(ended.get("lastTransitionTime")))
    return Attempt(
        number=number,
        job=Target("batch/v1", "Job", metadata["namespace"], metadata["name"], metadata["uid"]),
        image=spec["template"]["spec"]["containers"][0]["image"],
        suspended=bool(spec.get("suspend")),
        queue=labels.get(manifests.KUEUE_QUEUE),
        created=_time(metadata["creationTimestamp"]),
        admitted=_time(status["startTime"]) if status.get("startTime") else None,
        pods=together,
        begun=len(starts),
        # A gang works only when all are there.
        started=max(starts) if len(starts) >= together else None,
        finished=_time(ended.get("lastTransitionTime")) if ended is not None else None,
        report=report,
        failure=failure,
        blocked=_blocked(pods) if ended is None else None,
        config=_config(objects, metadata["namespace"], metadata["name"]),
    )


def _outcome(
    ended: dict[str, Any], pods: list[dict[str, Any]], time: datetime
) -> tuple[Outcome | None, Failure | None]:
    first = _rank_zero(pods)
    if ended["type"] == "Complete":
        report = _report(first)
        if report is not None and report.outcome == "Succeeded":
            return report, None
        message = "The pod ended without a report" if first is not None else "The pod and its report are gone"
        return None, Failure("Internal", Reason.REPORT_MISSING, message, time)
    if ended.get("reason") == "DeadlineExceeded":
        return None, Failure("Deadline", Reason.DEADLINE_EXCEEDED, "The Job's deadline ended it", time)
    failures = [failure for pod in pods if (failure := _pod_failure(pod, time)) is not None]
    if not failures:
        # A node that went away takes its pods along, and so does a person with kubectl delete pod.
        return None, Failure("Preempted", Reason.PREEMPTED, "The pod is gone (node lost, or deleted)", time)
    # The first one is the cause; that the others lost it is the effect.
    return None, min(failures, key=lambda f: (f.class_ == "Communication", f.time, f.node or 0))


def _pod_failure(pod: dict[str, Any], time: datetime) -> Failure | None:
    status = pod.get("status") or {}
    ended = _terminated(pod)
    node = _rank(pod)
    where = f" on node {node}"
    when = _time(ended["finishedAt"]) if ended and ended.get("finishedAt") else time
    code = int(ended["exitCode"]) if ended and "exitCode" in ended else None
    report = _report(pod)
    if _is_disrupted(status):
        said = status.get("message") or "evicted, or its node went away"
        return Failure("Preempted", Reason.PREEMPTED, f"Preempted{where}: {said}", when, node, code)
    if status.get("reason") == "Evicted":
        # Its own doing: over the size of an emptyDir or the ephemeral storage of the container.
        return Failure(
            "UserError", Reason.USER_ERROR, f"Evicted{where}: {status.get('message')}", when, node, code
        )
    if ended is None or code == 0:
        return None
    if ended.get("reason") == "OOMKilled" or code == ExitCode.OUT_OF_MEMORY:
        return Failure(
            "OutOfMemory", Reason.OUT_OF_MEMORY, f"Out of memory{where}", when, node, code, _log_tail(report)
        )
    if report is not None and code in EXITS:
        class_, usual = EXITS[code]
        reason = REASONS.get(report.reason or "", usual)
        return Failure(class_, reason, report.message or reason.meaning, when, node, code, _log_tail(report))
    if code in (137, 143):
        said = f"Ended{where} by signal {code - 128} before it could report"
        return Failure(
            "Preempted" if code == 143 else "Internal", Reason.REPORT_MISSING, said, when, node, code
        )
    said = (ended.get("message") or "").strip()[-1000:] or "no report"
    return Failure("Internal", Reason.REPORT_MISSING, f"Exit code {code}{where}: {said}", when, node, code)


def _is_disrupted(status: dict[str, Any]) -> bool:
    """Evicted, preempted or drained for others' sake."""
    if status.get("reason") in ("NodeLost", "NodeShutdown", "Shutdown", "Terminated", "Preempting"):
        return True
    disrupted = _condition(status, "DisruptionTarget") is not None
    own_fault = status.get("reason") == "Evicted" and "exceed" in (status.get("message") or "")
    return (disrupted or status.get("reason") == "Evicted") and not own_fault


def _blocked(pods: Iterable[dict[str, Any]]) -> Blocked | None:
    """The first thing that keeps a pod from starting."""
    for pod in pods:
        for container in _containers(pod):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in IMAGE_WAITS:
                fault = image_fault(waiting.get("message") or "")
                return Blocked("Image", Reason.IMAGE_UNAVAILABLE, f"{container['image']}: {fault}.")
            if waiting.get("reason") == "CreateContainerConfigError":
                return config_fault(pod, waiting.get("message") or "")
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                said = (condition.get("message") or "no node takes the pod").rstrip(".")
                return Blocked("Scheduling", Reason.UNSCHEDULABLE, f"No node takes the pod: {said}.")
    return None


def config_fault(pod: dict[str, Any], said: str) -> Blocked:
    if config.STORE_SECRET in said:
        keys = ", ".join(config.STORE_ENV.values())
        message = (
            f"Secret {config.STORE_SECRET} is missing in namespace {pod['metadata']['namespace']}, or lacks a key:"
            f" create it with {keys}."
        )
        return Blocked("Scheduling", Reason.STORE_NOT_CONFIGURED, message)
    return Blocked("Scheduling", Reason.POD_REFUSED, f"The container can't be set up: {said}.")


def image_fault(said: str) -> str:
    lower = said.lower()
    return next((told for sign, told in IMAGE_FAULTS if sign in lower), "can't be pulled")


def _config(objects: Objects, namespace: str, name: str) -> JobConfig | None:
    found = objects.get("ConfigMap", namespace, name)
    if found is None:
        return None
    try:
        return JobConfig.model_validate_json(found["data"][PurePosixPath(config.CONFIG_PATH).name])
    except (KeyError, ValidationError):
        # Not of this version's making: the attempt is then judged by its report alone.
        return None


def _report(pod: dict[str, Any] | None) -> Outcome | None:
    ended = _terminated(pod) if pod is not None else None
    if ended is None or not ended.get("message"):
        return None
    try:
        return REPORTS.validate_json(ended["message"])
    except ValidationError:
        # Something else was written there, such as a Python traceback; the caller quotes it.
        return None


def _log_tail(report: Outcome | None) -> str | None:
    return getattr(report, "log_tail", None)


def _rank_zero(pods: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((pod for pod in pods if _rank(pod) == 0), None)


def _rank(pod: dict[str, Any]) -> int:
    """Pods of a Job that isn't Indexed are alone."""
    return int(_annotations(pod).get(manifests.COMPLETION_INDEX, "0"))


def _starts(pods: Iterable[dict[str, Any]]) -> list[datetime]:
    states = [(_main(pod) or {}).get("state") or {} for pod in pods]
    times = [(state.get("running") or state.get("terminated") or {}).get("startedAt") for state in states]
    return [_time(time) for time in times if time]


def _is_running(pod: dict[str, Any]) -> bool:
    """Its Job has ended, but the pod as it is known here has not: the cache will hear of it."""
    return (pod.get("status") or {}).get("phase") in (None, "Pending", "Running")


def _terminated(pod: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = ((_main(pod) or {}).get("state") or {}).get("terminated")
    return found


def _main(pod: dict[str, Any]) -> dict[str, Any] | None:
    return next((container for container in _containers(pod) if container["name"] == manifests.MAIN), None)


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return list((pod.get("status") or {}).get("containerStatuses") or ())


def _annotations(pod: dict[str, Any]) -> dict[str, str]:
    return pod["metadata"].get("annotations") or {}


def _condition(status: dict[str, Any], type_: str) -> dict[str, Any] | None:
    conditions = status.get("conditions") or ()
    return next((c for c in conditions if c["type"] == type_ and c["status"] == "True"), None)


def _time(text: Any) -> datetime:
    return datetime.fromisoformat(text)
