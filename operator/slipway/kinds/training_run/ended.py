"""Why a run ended badly, and what to do about it, by class of failure."""

from dataclasses import dataclass
from datetime import datetime

from slipway.api import TrainingRun
from slipway.api.reasons import Reason
from slipway.api.training_run import FailureClass
from slipway.kinds.attempts import Failure


@dataclass(frozen=True)
class Ended:
    class_: FailureClass
    reason: Reason
    message: str
    """Without a full stop."""
    time: datetime
    node: int | None = None
    exit_code: int | None = None
    log_tail: str | None = None


def of(failure: Failure) -> Ended:
    return Ended(
        failure.class_,
        failure.reason,
        failure.message.rstrip(". "),
        failure.time,
        failure.node,
        failure.exit_code,
        failure.log_tail,
    )


def advice(ended: Ended, run: TrainingRun) -> str:
    """What to do, with the values found; empty where the message says it already."""
    spec = run.spec
    match ended.class_:
        case "OutOfMemory":
            return (
                "Raise trainer.resourcesPerNode.limits.memory, or lower hyperparameters.batchSize"
                f" ({spec.hyperparameters.batch_size})."
            )
        case "Deadline":
            return "Train fewer epochs, or give a new run more time."
        case "Image" | "Scheduling":
            return "Repair that and create a new run."
        case "Hang" | "Communication":
            return "The log has the stacks; look at the nodes' network."
        case "Internal":
            return "Look at the pod's log."
        case _:
            return ""


def memory_limit(run: TrainingRun) -> str:
    limit = run.spec.trainer.resources_per_node.limits.get("memory")
    return f" (limit {limit})" if limit is not None else ""
