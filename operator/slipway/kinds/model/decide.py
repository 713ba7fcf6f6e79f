"""Model: moves aliases by rule and prunes versions that nothing uses. Pure.

    alias:  empty --a version fits its rule--> points --another fits better--> points (the old one in history)
    phase:  Pending (an alias points to nothing yet) <--> Ready (all point)

An alias never moves by time, only by what is there; each move is remembered with since when and why.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway import conditions, gates
from slipway.api.gates import UP
from slipway.api.meta import ObjectRef
from slipway.api.model import (
    Alias,
    AliasMove,
    AliasState,
    LabelTerm,
    Model,
    ModelStatus,
    Selector,
    VersionCounts,
)
from slipway.api.reasons import Reason
from slipway.api.units import rfc3339
from slipway.conditions import State
from slipway.decision import Decision, Event, Target
from slipway.kinds import words
from slipway.manifests import API_VERSION

HISTORY = 10


@dataclass(frozen=True)
class Version:
    """A ModelVersion of this Model."""

    name: str
    uid: str
    created: datetime
    phase: str
    labels: Mapping[str, str]
    metrics: Mapping[str, float]
    made_by_slipway: bool
    used: bool
    """By a ModelDeployment, another Model's alias, or a CompressionJob under way."""

    @property
    def ready(self) -> bool:
        return self.phase == "Ready"


@dataclass(frozen=True)
class Deployment:
    """What a ModelDeployment says of its stable revision."""

    stable: str | None
    first: bool
    """It took over as the first revision, not after a trial."""


@dataclass(frozen=True)
class World:
    now: datetime
    model: Model
    versions: tuple[Version, ...]
    """Newest first."""
    deployments: Mapping[str, Deployment]
    """By name, those that aliases name and that are there."""
    others: frozenset[str] = frozenset()
    """Names of all ModelVersions of the namespace, for suggestions."""


@dataclass(frozen=True)
class Pointing:
    """What a rule says: a version, or why there is none."""

    version: str | None
    reason: Reason
    message: str = ""


def decide(world: World) -> Decision:
    if world.model.metadata.deletion_timestamp is not None:
        return Decision()
    before = {alias.name: alias for alias in world.model.status.aliases}
    aliases = [_moved(world, alias, before.get(alias.name)) for alias in world.model.spec.aliases]
    return Decision(
        status=_status(world, aliases).dump(),
        delete=_surplus(world, aliases),
        events=tuple(_moves(aliases, before)),
    )


# --- where an alias points ---


def _latest(world: World, alias: Alias, current: str | None) -> Pointing:
    assert alias.latest is not None
    fitting = [version for version in world.versions if _selects(alias.latest.selector, version)]
    for version in fitting:
        if version.ready:
            return Pointing(version.name, Reason.NEWEST_READY)
    if not fitting:
        return Pointing(None, Reason.ALIAS_EMPTY, "no version that its selector takes yet")
    newest = fitting[0]
    return Pointing(None, Reason.ALIAS_EMPTY, f"newest is {newest.name} ({newest.phase})")


def _best(world: World, alias: Alias, current: str | None) -> Pointing:
    rule = alias.best
    assert rule is not None
    fitting = [
        v for v in world.versions if v.ready and _selects(rule.selector, v) and rule.metric in v.metrics
    ]
    if not fitting:
        return Pointing(None, Reason.ALIAS_EMPTY, f"no Ready version with a figure for {rule.metric} yet")
    sign = 1.0 if rule.metric in UP else -1.0
    # Of equal ones the oldest: a newer version has to be better to move the alias.
    best = max(reversed(fitting), key=lambda version: sign * version.metrics[rule.metric])
    holder = next((version for version in fitting if version.name == current), None)
    figure = f"{rule.metric} {gates.figure(rule.metric, best.metrics[rule.metric])}"
    if holder is None:
        return Pointing(best.name, Reason.BEST, f"{figure}.")
    gain = sign * (best.metrics[rule.metric] - holder.metrics[rule.metric])
    # Nine digits: 0.92 - 0.91 is a hair under 0.01.
    if best.name == holder.name or gain <= 0 or round(gain, 9) < rule.by:
        return Pointing(holder.name, Reason.BEST)
    held = gates.figure(rule.metric, holder.metrics[rule.metric])
    return Pointing(best.name, Reason.BEST, f"{figure}, {holder.name} has {held}.")


def _promoted(world: World, alias: Alias, current: str | None) -> Pointing:
    assert alias.promoted is not None
    name = alias.promoted.deployment_ref.name
    deployment = world.deployments.get(name)
    known = {version.name for version in world.versions}
    if deployment is None:
        # What it promoted last stays promoted; a deployment that is made anew promotes again.
        if current in known:
            return Pointing(current, Reason.PROMOTED)
        return Pointing(None, Reason.DEPLOYMENT_NOT_FOUND, f"there is no ModelDeployment {name} yet")
    if deployment.stable is None or deployment.stable not in known:
        if current in known:
            return Pointing(current, Reason.PROMOTED)
        said = f"ModelDeployment {name} has promoted no version of this Model yet"
        return Pointing(None, Reason.ALIAS_EMPTY, said)
    how = "First revision of" if deployment.first else "Promoted by"
    return Pointing(deployment.stable, Reason.PROMOTED, f"{how} ModelDeployment {name}.")


def _fixed(world: World, alias: Alias, current: str | None) -> Pointing:
    assert alias.fixed is not None
    name = alias.fixed.model_version_ref.name
    version = next((version for version in world.versions if version.name == name), None)
    if version is None and name in world.others:
        said = f"ModelVersion {name} doesn't belong to this Model; set its spec.modelRef, or name another"
        return Pointing(None, Reason.MODEL_VERSION_UNUSABLE, said)
    if version is None:
        suggestion = words.there_is("ModelVersion", name, (v.name for v in world.versions)).removesuffix(".")
        said = f"there is no ModelVersion {name}{'.' if suggestion else ''}{suggestion}"
        return Pointing(None, Reason.MODEL_VERSION_NOT_FOUND, said)
    if version.phase in ("Rejected", "Failed"):
        return Pointing(None, Reason.MODEL_VERSION_UNUSABLE, f"ModelVersion {name} is {version.phase}")
    if not version.ready:
        return Pointing(None, Reason.MODEL_VERSION_NOT_READY, f"ModelVersion {name} is not Ready yet")
    return Pointing(name, Reason.FIXED)


RULES: tuple[tuple[str, Callable[[World, Alias, str | None], Pointing]], ...] = (
    ("latest", _latest),
    ("best", _best),
    ("promoted", _promoted),
    ("fixed", _fixed),
)


def _point(world: World, alias: Alias, current: str | None) -> Pointing:
    rule = next((rule for field, rule in RULES if getattr(alias, field) is not None), None)
    if rule is None:
        allowed = words.listed([field for field, _ in RULES])
        return Pointing(None, Reason.INVALID_SPEC, f"it has none of the rules {allowed}: set exactly one")
    return rule(world, alias, current)


def _moved(world: World, alias: Alias, before: AliasState | None) -> AliasState:
    """The alias as it is from now on; unchanged while it points to what it pointed to."""
    current = before.model_version_ref.name if before is not None and before.model_version_ref else None
    pointing = _point(world, alias, current)
    if before is not None and current is not None and pointing.version == current:
        return before
    history = list(before.history) if before is not None else []
    if before is not None and before.model_version_ref is not None:
        past = AliasMove(
            model_version_ref=before.model_version_ref, since_time=before.since_time, reason=before.reason
        )
        history = [past, *history][:HISTORY]
    if pointing.version is None:
        return AliasState(name=alias.name, reason=pointing.reason, message=pointing.message, history=history)
    return AliasState(
        name=alias.name,
        model_version_ref=ObjectRef(name=pointing.version),
        since_time=world.now,
        reason=pointing.reason,
        message=pointing.message or None,
        history=history,
    )


def _selects(selector: Selector, version: Version) -> bool:
    """As Kubernetes' label selectors do; an empty one takes all."""
    if not selector.match_labels.items() <= version.labels.items():
        return False
    return all(_holds(term, version.labels.get(term.key)) for term in selector.match_expressions)


def _holds(term: LabelTerm, value: str | None) -> bool:
    match term.operator:
        case "In":
            return value in term.values
        case "NotIn":
            return value not in term.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


# --- retention ---


def _surplus(world: World, aliases: list[AliasState]) -> tuple[Target, ...]:
    """Versions beyond the newest `keep` that nothing uses, oldest first. A user's own are the user's to delete."""
    keep = world.model.spec.retention.keep if world.model.spec.retention is not None else None
    if keep is None:
        return ()
    pointed = {alias.model_version_ref.name for alias in aliases if alias.model_version_ref is not None}
    unused = [
        version
        for version in world.versions
        if not version.used
        and version.name not in pointed
        and version.made_by_slipway
        and version.phase in ("Ready", "Rejected", "Failed")
    ]
    return tuple(
        Target(API_VERSION, "ModelVersion", world.model.metadata.namespace, version.name, version.uid)
        for version in reversed(unused[keep:])
    )


# --- what is said ---


def _status(world: World, aliases: list[AliasState]) -> ModelStatus:
    pointing = [alias for alias in aliases if alias.model_version_ref is not None]
    empty = [alias for alias in aliases if alias.model_version_ref is None]
    plural = "alias" if len(aliases) == 1 else "aliases"
    verb = "points" if len(pointing) == 1 else "point"
    said = f"{len(pointing)} of {len(aliases)} {plural} {verb} to a version."
    if not aliases:
        state = State("Ready", "True", Reason.NO_ALIASES)
    elif empty:
        state = State("Ready", "False", Reason.ALIASES_WAITING, f"{said} {_sentence(empty[0])}")
    else:
        state = State("Ready", "True", Reason.ALIASES_RESOLVED, said)
    return ModelStatus(
        observed_generation=world.model.metadata.generation,
        phase="Ready" if state.status == "True" else "Pending",
        summary=_summary(aliases),
        versions=VersionCounts(
            total=len(world.versions),
            ready=sum(version.ready for version in world.versions),
            rejected=sum(version.phase == "Rejected" for version in world.versions),
        ),
        aliases=aliases,
        conditions=conditions.of(
            world.model, world.now, (state,), "Done" if state.status == "True" else "Reconciling"
        ),
    )


def _summary(aliases: list[AliasState]) -> str:
    if not aliases:
        return "No aliases are stated; versions are named one by one."
    return f"{'; '.join(map(_said, aliases))}."


def _sentence(alias: AliasState) -> str:
    return f"{alias.name} waits: {alias.message}."


def _said(alias: AliasState) -> str:
    if alias.model_version_ref is None or alias.since_time is None:
        return f"{alias.name} is empty: {alias.message}"
    # The moment, not the age: an age would have to be rewritten every minute.
    return f"{alias.name} is {alias.model_version_ref.name} since {rfc3339(alias.since_time)}"


def _moves(aliases: list[AliasState], before: Mapping[str, AliasState]) -> Iterable[Event]:
    for alias in aliases:
        old = before.get(alias.name)
        was = old.model_version_ref.name if old is not None and old.model_version_ref else None
        now = alias.model_version_ref.name if alias.model_version_ref else None
        if now == was:
            continue
        if now is None:
            yield Event(
                "Warning",
                alias.reason or Reason.ALIAS_EMPTY,
                f"Alias {alias.name} left {was}: {alias.message}.",
            )
        else:
            came = f" from {was}" if was else ""
            yield Event("Normal", alias.reason or Reason.FIXED, f"Alias {alias.name} moved{came} to {now}.")
