"""Model: a name with aliases that move by rule."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from slipway.api.gates import COMPARED, OFFLINE
from slipway.api.meta import (
    AGE,
    ATOMIC,
    SUMMARY,
    Column,
    ObjectRef,
    Resource,
    Status,
    Wire,
    expressed,
    list_map,
    rule,
    rules,
)
from slipway.api.pods import LabelMap
from slipway.api.units import CamelWord, Label, Name, Sentence, Time, Word, capped

_BEST_OF = "[" + ", ".join(f"'{name}'" for name in (*OFFLINE, *COMPARED)) + "]"


class LabelTerm(Wire):
    """A condition on one label, as in Kubernetes."""

    key: Annotated[str, Field(min_length=1, max_length=317)]
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """In and NotIn compare with values; Exists and DoesNotExist take none."""
    values: Annotated[
        list[Label], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    """What the label's value is compared with."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
                "values belong to the operators In and NotIn, which need at least one",
            )
        )
    )


class Selector(Wire):
    """Which ModelVersions count."""

    match_labels: LabelMap = {}
    """Labels the ModelVersion must have, e.g. slipway.dev/producer."""
    match_expressions: Annotated[
        list[LabelTerm], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    """Conditions on its labels, all of which must hold."""


class Latest(Wire):
    """The newest Ready version."""

    selector: Selector = Selector()
    """Which versions count; left out: all of the Model."""


class Best(Wire):
    """The Ready version with the best figure."""

    metric: Word
    """Name of the figure, e.g. accuracy; whether more or less is better follows from it."""
    by: Annotated[float, Field(ge=0)] = 0.0
    """How much better a version must be for the alias to move."""
    selector: Selector = Selector()
    """Which versions count; left out: all of the Model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            expressed(
                f"self.metric in {_BEST_OF}",
                f"'best.metric: %s is no figure of a version; use one of {', '.join((*OFFLINE, *COMPARED))}'"
                ".format([self.metric])",
            )
        )
    )


class Promoted(Wire):
    """The version that won in traffic."""

    deployment_ref: ObjectRef
    """The ModelDeployment whose stable version it is."""


class Fixed(Wire):
    """A version that a person names."""

    model_version_ref: ObjectRef
    """The version."""


class Alias(Wire):
    """A name for a version, and the rule by which it moves; exactly one rule is set."""

    name: Name
    """Name of the alias, e.g. champion."""
    latest: Latest | None = None
    """Moves to the newest Ready version."""
    best: Best | None = None
    """Moves to the Ready version with the best figure."""
    promoted: Promoted | None = None
    """Moves when a rollout of a ModelDeployment is promoted."""
    fixed: Fixed | None = None
    """Moves when a person edits it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "[has(self.latest), has(self.best), has(self.promoted), has(self.fixed)].filter(x, x).size() == 1",
                "set exactly one of latest, best, promoted and fixed",
            )
        )
    )


class Retention(Wire):
    """How many versions stay."""

    keep: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Newest versions that stay although nothing uses them; what is in use is never deleted."""


class ModelSpec(Wire):
    """The aliases and how they move."""

    description: Annotated[str, Field(max_length=1024)] | None = None
    """What the model is for."""
    aliases: Annotated[list[Alias], Field(max_length=16, json_schema_extra=list_map("name"))] = []
    """Names for versions, each with the rule by which it moves."""
    retention: Retention | None = None
    """How many versions stay; left out: all."""


class VersionCounts(Wire):
    """How many versions there are."""

    total: int = 0
    """All."""
    ready: int = 0
    """Verified, and gates passed."""
    rejected: int = 0
    """A gate was missed."""


class AliasMove(Wire):
    """Where the alias pointed before."""

    model_version_ref: ObjectRef
    """The version."""
    since_time: Time
    """Since when."""
    reason: CamelWord
    """Why it moved there."""


class AliasState(Wire):
    """Where an alias points."""

    name: Name
    """Name of the alias."""
    model_version_ref: ObjectRef | None = None
    """The version; absent: none yet."""
    since_time: Time | None = None
    """Since when."""
    reason: CamelWord | None = None
    """Why it points there, or nowhere."""
    message: Sentence | None = None
    """Why, in a sentence."""
    history: Annotated[
        list[AliasMove],
        capped(10),
        Field(max_length=10, json_schema_extra=ATOMIC),
    ] = []
    """Where it pointed before, newest first."""


class ModelStatus(Status):
    """Where the aliases point."""

    phase: Literal["Pending", "Ready"] | None = None
    """Pending while an alias points to nothing, then Ready."""
    versions: VersionCounts | None = None
    """How many versions there are."""
    aliases: Annotated[
        list[AliasState], capped(16), Field(max_length=16, json_schema_extra=list_map("name"))
    ] = []
    """Where each alias points."""


class Model(Resource):
    """A name for a model over all its versions, with aliases that move by rule."""

    PLURAL: ClassVar[str] = "models"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column(
            "Ready",
            '.status.conditions[?(@.type=="Ready")].status',
            description="Whether every alias points to a version.",
        ),
        Column(
            "Candidate",
            '.status.aliases[?(@.name=="candidate")].modelVersionRef.name',
            description="What is tried next.",
        ),
        Column(
            "Champion",
            '.status.aliases[?(@.name=="champion")].modelVersionRef.name',
            description="What has won.",
        ),
        Column("Versions", ".status.versions.total", "integer", description="How many versions there are."),
        AGE,
        SUMMARY,
    )

    spec: ModelSpec = ModelSpec()
    """What is wanted."""
    status: ModelStatus = ModelStatus()
    """What is."""
