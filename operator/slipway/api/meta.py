"""What all kinds share: the base models, metadata, conditions and references."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.alias_generators import to_camel

from slipway.api.reasons import Reason as Reason
from slipway.api.units import CamelWord, Digest, Metrics, Name, Phrase, Sentence, Time, Uri, capped

GROUP = "slipway.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
MAX_NAME = 40
"""Longest name of an object of ours, so that the names of what it owns fit into 63 characters."""


ATOMIC = {"x-kubernetes-list-type": "atomic"}
"""Schema extra of a list that is replaced whole."""


def rule(rule: str, message: str) -> dict[str, str]:
    """A CEL rule and what is said where it doesn't hold."""
    return {"rule": rule, "message": message}


def expressed(rule: str, message: str) -> dict[str, str]:
    """A CEL rule whose message is an expression too, so that it carries the value found."""
    return {"rule": rule, "messageExpression": message}


def rules(*made: dict[str, str]) -> dict[str, Any]:
    """Rules as the schema extra of a model or field."""
    return {"x-kubernetes-validations": list(made)}


def list_map(key: str) -> dict[str, Any]:
    """Schema extra of a list whose entries are told apart by one field, so that appliers merge them."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


class Wire(BaseModel):
    """Frozen, snake_case inside and camelCase outside; a field's docstring is its `kubectl explain` text."""

    model_config = ConfigDict(
        alias_generator=lambda name: to_camel(name.rstrip("_")),
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    @model_serializer(mode="wrap")
    def _leave_out_what_is_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # No field of ours is nullable, and an empty list or map says the same as none.
        dumped: dict[str, Any] = dump(self)
        for name, field in type(self).model_fields.items():
            if getattr(self, name) in (None, [], {}):
                dumped.pop(name, None)
                dumped.pop(field.alias or name, None)
        return dumped

    def dump(self) -> dict[str, Any]:
        """As JSON, camelCase, without what is unset."""
        return self.model_dump(mode="json", by_alias=True)


class Metadata(Wire):
    """The part of ObjectMeta that is read."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None


class Condition(Wire):
    """One state of the object, as in Kubernetes."""

    type: CamelWord
    """Name of the state, e.g. Ready; Reconciling and Stalled are read by kstatus, Flux, Argo CD and Helm."""
    status: Literal["True", "False", "Unknown"]
    """Whether the object is in that state."""
    reason: CamelWord
    """Why, in one word; docs/reasons.md lists all."""
    message: Sentence = ""
    """Why, in a sentence: what was found, and what to do."""
    observed_generation: int | None = None
    """Generation of the spec that was judged."""
    last_transition_time: Time | None = None
    """When status changed last."""


class ObjectRef(Wire):
    """Another object of the same namespace."""

    name: Name
    """Name of the object."""


class DatasetRef(Wire):
    """A Dataset of the same namespace."""

    name: Name
    """Name of the Dataset."""
    digest: Digest | None = None
    """Pins the content: waits unless the Dataset has this very digest."""


class ModelRef(Wire):
    """Whatever version an alias of a Model points to."""

    name: Name
    """Name of the Model."""
    alias: Name
    """Alias of the Model, e.g. champion."""


class JoinedModel(Wire):
    """The Model that a new version joins."""

    name: Name
    """Name of the Model; it may be made later."""
    alias: Name | None = None
    """Refused here: a new version joins a Model, and aliases move by the Model's rules."""


class Output(Wire):
    """Where the result goes."""

    model_ref: JoinedModel | None = None
    """The Model that the version joins; left out: a version of no Model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.modelRef) || !has(self.modelRef.alias)",
                "output.modelRef.alias: a new version joins a Model; aliases move by the Model's rules",
            )
        )
    )


class NamedDigest(Wire):
    """What a reference meant: a name and its content."""

    name: Name
    """Name of the object."""
    digest: Digest | None = None
    """Digest of its content when it was taken."""


class Evaluation(Wire):
    """What the figures are measured on."""

    split: Literal["train", "validation", "test"] = "test"
    """Part of the Dataset."""


class EvaluationResult(Wire):
    """Figures of the model on held-out rows."""

    split: Phrase | None = None
    """Part of the Dataset they were measured on."""
    samples: int | None = None
    """Rows of that part."""
    metrics: Metrics = {}
    """Figures by metric name."""
    report_uri: Uri | None = None
    """The full report: per class, confusion matrix."""


Conditions = Annotated[list[Condition], capped(16), Field(max_length=16, json_schema_extra=list_map("type"))]


class Status(Wire):
    """What every status has."""

    observed_generation: int = -1
    """Generation of the spec this status is about; -1: not looked at yet."""
    phase: str | None = None
    """Where it stands, in one word."""
    summary: Sentence | None = None
    """What it does now or waits for, in one sentence."""
    result: Phrase | None = None
    """What came out, in a few words."""
    conditions: Conditions = []
    """States of the object; all are set at the first visit."""

    def condition(self, type: str) -> Condition | None:
        """The condition of that type."""
        return next((c for c in self.conditions if c.type == type), None)


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False
    """Shown with -o wide only."""
    description: str = ""


AGE = Column("Age", ".metadata.creationTimestamp", "date", description="Time since it was created.")
SUMMARY = Column("Summary", ".status.summary", wide=True, description="What it does now or waits for.")
PHASE = Column("Phase", ".status.phase", description="Where it stands.")
RESULT = Column("Result", ".status.result", description="What came out.")


class Resource(Wire):
    """A kind of ours. Subclasses narrow spec and status and say how the kind is named and shown."""

    PLURAL: ClassVar[str]
    SHORT: ClassVar[tuple[str, ...]] = ()
    SCOPE: ClassVar[str] = "Namespaced"
    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    SCALE: ClassVar[dict[str, str] | None] = None
    """Paths of the scale subresource, where the kind has one."""

    metadata: Metadata
    spec: Wire
    status: Status

    @classmethod
    def kind(cls) -> str:
        return cls.__name__

    @classmethod
    def parse(cls, manifest: Any) -> Self:
        """From a manifest as the API server gives it."""
        return cls.model_validate(manifest)

    def to_manifest(self) -> dict[str, Any]:
        """For creation: apiVersion, kind, metadata and spec; status is written through its subresource."""
        metadata = {k: v for k, v in self.metadata.dump().items() if v not in ("", 0)}
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind(),
            "metadata": metadata,
            "spec": self.spec.dump(),
        }
