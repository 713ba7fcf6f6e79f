"""Every reason a condition, an event, an alias or a history entry may give; docs/reasons.md is made from it."""

from enum import StrEnum


class Reason(StrEnum):
    """One word of CamelCase and the sentence that explains it."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> "Reason":
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    # What an object needs.
    RESOLVED = "Resolved", "Every reference was found and is usable; the message says what each one meant."
    NOT_RESOLVED = "NotResolved", "The references have not been looked up yet."
    DATASET_NOT_FOUND = (
        "DatasetNotFound",
        "No Dataset of that name is in the namespace; waits until there is one.",
    )
    DATASET_NOT_READY = "DatasetNotReady", "The Dataset is there and not prepared yet; waits for it."
    DATASET_UNUSABLE = "DatasetUnusable", "The Dataset is Rejected or Failed; waits until it is repaired."
    MODEL_NOT_FOUND = "ModelNotFound", "No Model of that name is in the namespace; waits until there is one."
    ALIAS_NOT_FOUND = "AliasNotFound", "The Model has no alias of that name; waits until it has."
    ALIAS_EMPTY = "AliasEmpty", "The alias points to no version yet; waits until it does."
    ALIAS_LOOP = (
        "AliasLoop",
        "A ModelDeployment follows an alias that it promotes itself, so nothing could ever move.",
    )
    MODEL_VERSION_NOT_FOUND = (
        "ModelVersionNotFound",
        "No ModelVersion of that name is in the namespace; waits until there is one.",
    )
    MODEL_VERSION_NOT_READY = "ModelVersionNotReady", "The ModelVersion is not verified yet; waits for it."
    MODEL_VERSION_UNUSABLE = (
        "ModelVersionUnusable",
        "The ModelVersion is Rejected or Failed and is never used; name another one.",
    )
    DIGEST_NOT_FOUND = (
        "DigestNotFound",
        "The reference pins a digest that the object doesn't have; pin the one it has, or none.",
    )
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound", "No ModelDeployment of that name is in the namespace; waits."
    STORE_NOT_CONFIGURED = (
        "StoreNotConfigured",
        "The Secret slipway-store is missing in the namespace or lacks a key.",
    )
    STORE_UNREACHABLE = (
        "StoreUnreachable",
        "The store doesn't answer or refuses the credentials; it is tried again.",
    )
    SOURCE_READ = "SourceRead", "The source was read whole; the message says how much and from where."
    SOURCE_UNREADABLE = "SourceUnreadable", "The source's bytes are missing or not in the stated format."
    VERSION_EXISTS = (
        "VersionExists",
        "A ModelVersion of this run's name exists with other content; versions never change, so rename the run.",
    )
    NAME_TAKEN = "NameTaken", "An object of a name that is needed belongs to someone else; it is left alone."
    INVALID_SPEC = (
        "InvalidSpec",
        "The object says something that can't be honoured; the message says what to change.",
    )

    # Work of a Job.
    NOT_STARTED = "NotStarted", "Waits for its inputs; no pod has been made."
    QUEUED = "Queued", "Its Job is suspended until the queue of the cluster admits it."
    STARTING = "Starting", "The pod has been made and isn't running yet."
    RUNNING = "Running", "The pod is at work."
    SUSPENDED = (
        "Suspended",
        "spec.suspend is true: no pod runs, and work goes on from the last checkpoint later.",
    )
    RESTARTING = "Restarting", "An attempt ended early; the next one goes on from the last checkpoint."
    TRAINING = "Training", "The model is being trained; the message says how far it is."
    FINISHED = "Finished", "The work was done to its end."
    PREPARING = "Preparing", "The Dataset is being read, checked, split and written."
    PREPARED = "Prepared", "The prepared copy is in the store under its digest."
    MEASURING = "Measuring", "Variants are being made and measured against the source."
    STABLE = "Stable", "The measurements are steady enough to be judged."
    REGISTERED = "Registered", "The result is a ModelVersion; the message names it."
    OUT_OF_MEMORY = (
        "OutOfMemory",
        "The kernel ended the container at its memory limit; raise the limit or take smaller batches.",
    )
    IMAGE_UNAVAILABLE = (
        "ImageUnavailable",
        "An image can't be pulled; the message holds the registry's answer.",
    )
    UNSCHEDULABLE = "Unschedulable", "No node takes the pod; the message holds the scheduler's words."
    POD_REFUSED = "PodRefused", "The API server refuses the pod, for instance by quota or Pod Security."
    COMMUNICATION_LOST = "CommunicationLost", "The nodes of a run lost each other."
    HUNG = "Hung", "No progress for too long; the stacks are in the log."
    USER_ERROR = "UserError", "The configuration or the data can't work; trying again would not help."
    PREEMPTED = "Preempted", "The pod was evicted or its node went away; this doesn't count as a restart."
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded", "The pods could not start within startDeadline."
    DEADLINE_EXCEEDED = "DeadlineExceeded", "The active time is over activeDeadline."
    REPORT_MISSING = "ReportMissing", "The pod ended without a report, so there is no result to go by."
    INTERNAL_ERROR = "InternalError", "Slipway itself failed; the message holds the error, please report it."

    # Gates.
    ALL_PASSED = "AllPassed", "Every gate passed."
    PASSED_WITH_WARNINGS = (
        "PassedWithWarnings",
        "Every check of severity Error passed; some of severity Warning did not.",
    )
    NO_GATES = "NoGates", "There are no gates, so nothing is held back."
    NOT_EVALUATED = "NotEvaluated", "The figures aren't there yet."
    GATE_MISSED = "GateMissed", "A figure is beyond its bound; the message says which and by how much."
    NO_DATA = "NoData", "A figure that a gate needs could not be measured."
    INCONCLUSIVE = "Inconclusive", "The figures are too uncertain to decide by."

    # ModelVersion.
    VERIFYING = "Verifying", "The bytes are being read, and the model is being loaded."
    DIGEST_MATCHES = "DigestMatches", "The bytes are those that the spec's digest names."
    DIGEST_COMPUTED = (
        "DigestComputed",
        "The spec has no digest; the one of the bytes found was recorded and holds from now on.",
    )
    DIGEST_MISMATCH = "DigestMismatch", "The bytes are not those that the digest names; they are not loaded."
    SIGNATURE_MISMATCH = "SignatureMismatch", "Inputs or outputs of the file differ from those stated."
    NOT_LOADABLE = "NotLoadable", "The runtime can't load the file; the message holds its error."
    USABLE = "Usable", "Verified, and its gates passed: aliases and deployments may take it."
    IN_USE = "InUse", "Deletion waits for the objects that use the version; status.usedBy lists them."

    # Model.
    ALIASES_RESOLVED = "AliasesResolved", "Every alias points to a version."
    ALIASES_WAITING = "AliasesWaiting", "Some alias points to no version yet; the message says which and why."
    NO_ALIASES = "NoAliases", "The Model states no alias."
    NEWEST_READY = "NewestReady", "The alias moved to the newest Ready version that its selector takes."
    BEST = "Best", "The alias moved to the version with the best figure."
    PROMOTED = "Promoted", "A rollout was promoted, and the alias follows that deployment."
    FIXED = "Fixed", "The alias points where its author says."

    # ModelDeployment.
    SERVING = "Serving", "Requests are answered."
    NO_REPLICAS = "NoReplicas", "No replica is ready, so requests fail."
    STARTING_REPLICAS = "StartingReplicas", "Replicas are being started."
    REPLICAS_UNHEALTHY = "ReplicasUnhealthy", "Replicas crash or fail their probe; the message says why."
    PROGRESS_DEADLINE_EXCEEDED = (
        "ProgressDeadlineExceeded",
        "The new revision was not ready within rollout.progressDeadline.",
    )
    SELF_TESTING = "SelfTesting", "The version's examples are being sent to the new revision."
    SELF_TEST_FAILED = (
        "SelfTestFailed",
        "The new revision doesn't give the recorded answers; it gets no traffic.",
    )
    SIGNATURE_CHANGED = (
        "SignatureChanged",
        "The new version takes or gives other tensors than the one that serves.",
    )
    FIRST_REVISION = "FirstRevision", "Nothing served before, so the revision took over after its self-test."
    NO_CANARY = "NoCanary", "The deployment states no canary, so the revision took over after its self-test."
    ROLLOUT_IN_PROGRESS = "RolloutInProgress", "A new revision is on trial."
    ROLLOUT_PAUSED = "RolloutPaused", "The rollout waits at a pause; promote, abort, or wait for its end."
    ROLLED_BACK = (
        "RolledBack",
        "The new revision was shown to be worse, or could not serve; the stable one keeps the traffic.",
    )
    ERROR_RATE_INCREASED = (
        "ErrorRateIncreased",
        "The canary failed more requests than stable, beyond maxIncrease.",
    )
    SLOW_RATE_INCREASED = (
        "SlowRateIncreased",
        "More of the canary's requests were slow than of stable's, beyond maxIncrease.",
    )
    PROMOTED_BY_USER = "PromotedByUser", "Someone asked for promotion by the annotation slipway.dev/promote."
    ABORTED = "Aborted", "Someone asked for the way back by the annotation slipway.dev/abort."
    SUPERSEDED = "Superseded", "A newer revision was wanted before the trial had ended."
    PINNED = "Pinned", "The annotation slipway.dev/pin keeps the deployment on one revision."
    UP_TO_DATE = "UpToDate", "The wanted revision answers all requests."
    SHARES_MATCH = "SharesMatch", "The share of requests seen is the share asked for."
    SHARES_DIFFER = "SharesDiffer", "The share of requests seen is not the share asked for."
    NO_TRAFFIC = "NoTraffic", "Too few requests in the last minute to compare shares."
    NOT_ACKNOWLEDGED = "NotAcknowledged", "Not every router has taken the newest weights yet."
    ROUTER_REJECTED = "RouterRejected", "A router refused its configuration; the message holds its words."
    ROUTER_UNAVAILABLE = "RouterUnavailable", "No router is ready."
    HOST_CONFLICT = "HostConflict", "An older ModelDeployment holds that host; it was left out here."
    HOST_NOT_ALLOWED = "HostNotAllowed", "The namespace may not claim that host; it was left out."
    WITHIN_SLO = "WithinSLO", "The latency holds its threshold at the present size."
    ABOVE_SLO = "AboveSLO", "The latency is over its threshold."
    SCALING_UP = "ScalingUp", "Replicas are being added."
    SCALING_DOWN = "ScalingDown", "Replicas are being removed."
    AT_MAXIMUM = "AtMaximum", "More replicas are needed than maxReplicas allows."
    FIXED_REPLICAS = "FixedReplicas", "The number of replicas is stated; nothing scales it."
    EXTERNAL_SCALER = "ExternalScaler", "An HPA or KEDA writes spec.replicas."
    NO_METRICS = "NoMetrics", "No fresh figures from the routers; replicas stay as they are."

    DELETING = "Deleting", "The object is being deleted."
