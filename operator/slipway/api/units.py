"""The scalar types of the API, each with its bound in the schema, and how they are read and written."""

import math
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, PlainSerializer, WithJsonSchema

_GO_UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_GO_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_QUANTITY = re.compile(r"([+-]?[0-9.]+)(Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+|[numkMGTPE]?)")
QUANTITY_PATTERN = r"^[+]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+|[numkMGTPE]?)$"


def seconds(duration: str) -> float:
    """A Go duration string such as 1m30s or 25ms, in seconds."""
    if not re.fullmatch(DURATION_PATTERN, duration):
        raise ValueError(f"{duration!r} is not a duration; write it like 30s, 25ms or 1h30m")
    return float(sum(Decimal(number) * _GO_UNITS[unit] for number, unit in _GO_PART.findall(duration)))


def duration(value: float) -> str:
    """Seconds as a short Go duration string for people: 22s, 1m30s, 2h5m, 250ms."""
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value} is not a length of time")
    if 0 < value < 1:
        micros = round(value * 1_000_000)
        return f"{micros // 1000}ms" if micros % 1000 == 0 else f"{micros}us"
    whole = round(value)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    parts = [f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if n]
    return "".join(parts) or "0s"


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity as a number: CPUs for cpu, bytes for memory."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write it like 500m, 2 or 1Gi")
    number, suffix = match.groups()
    try:
        value = Decimal(number)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a quantity; write it like 500m, 2 or 1Gi") from None
    if suffix in _BINARY:
        return value * _BINARY[suffix]
    exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    return value.scaleb(exponent)


def threads(cpu: str | None) -> int:
    """Threads for a CPU request: as many as whole CPUs, at least one."""
    return max(1, int(quantity(cpu))) if cpu else 1


def size(count: int) -> str:
    """Bytes as a binary quantity for people, two or three figures: 335Ki, 1.2Mi, 52Mi."""
    value, suffix = float(count), ""
    for suffix_, factor in _BINARY.items():
        if count >= factor:
            value, suffix = count / factor, suffix_
    if not suffix:
        return str(count)
    return (
        f"{value:.1f}{suffix}" if value < 10 and round(value, 1) != round(value) else f"{value:.0f}{suffix}"
    )


def clip(text: str, limit: int) -> str:
    """The text, cut to limit characters with an ellipsis at the cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _clipped(limit: int) -> BeforeValidator:
    return BeforeValidator(lambda value: clip(value, limit) if isinstance(value, str) else value)


def _tail(limit: int) -> BeforeValidator:
    return BeforeValidator(lambda value: value[-limit:] if isinstance(value, str) else value)


def capped(limit: int) -> BeforeValidator:
    """Keeps the first so many of a list of the status, so that a long one is shortened instead of refused."""
    return BeforeValidator(lambda value: value[:limit] if isinstance(value, list) else value)


def _finite(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {k: v for k, v in value.items() if not (isinstance(v, float) and not math.isfinite(v))}


def positive(what: str) -> dict[str, Any]:
    """Schema: a duration longer than nothing."""
    return {
        "x-kubernetes-validations": [
            {"rule": "duration(self) > duration('0s')", "message": f"{what} must be longer than 0s"}
        ]
    }


def span(what: str) -> Any:
    """Field of a duration of a spec; it must be longer than nothing."""
    return Field(json_schema_extra=positive(what))


def _checked_duration(value: str) -> str:
    seconds(value)
    return value


def _whole_seconds(value: datetime) -> datetime:
    return value.astimezone(UTC).replace(microsecond=0)


def rfc3339(value: datetime) -> str:
    """As Kubernetes writes times: UTC, whole seconds, Z."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Duration = Annotated[
    str,
    AfterValidator(_checked_duration),
    WithJsonSchema({"type": "string", "format": "duration", "maxLength": 32, "pattern": DURATION_PATTERN}),
]
"""A Go duration string, e.g. 30s, 25ms, 1h30m; `seconds` reads it."""

Time = Annotated[
    AwareDatetime,
    AfterValidator(_whole_seconds),
    PlainSerializer(rfc3339, return_type=str, when_used="always"),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 64}),
]
"""RFC 3339 on the wire, an aware datetime in whole seconds inside."""

Quantity = Annotated[
    str,
    BeforeValidator(_as_text),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 32,
        }
    ),
]
"""A Kubernetes quantity, e.g. 500m, 2, 1Gi; `quantity` reads it."""

Name = Annotated[str, Field(min_length=1, max_length=63)]
"""Name of an object or of a member of a list."""
Label = Annotated[str, Field(max_length=63)]
"""Value of a label."""
Word = Annotated[str, Field(min_length=1, max_length=128)]
"""A name that isn't an object's: a class, a metric, a tensor, a CPU."""
Uri = Annotated[str, Field(min_length=1, max_length=1024)]
"""Where bytes are."""
StorageUri = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^(s3|https|store)://[^\s]+$")]
"""s3://, https:// or store://PATH, a path in the namespace's own store. Others come with their drivers."""
Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
"""sha256: and 64 hex digits."""
Sentence = Annotated[str, _clipped(1024), Field(max_length=1024)]
"""Text of a status for people; longer text is cut."""
Phrase = Annotated[str, _clipped(128), Field(max_length=128)]
"""A few words of a status; longer text is cut."""
LogTail = Annotated[str, _tail(2048), Field(max_length=2048)]
"""The end of a log; earlier text is cut."""
Metrics = Annotated[dict[Word, float], Field(max_length=64), BeforeValidator(_finite)]
"""Figures by metric name; the unit is the end of the name. A loss that became NaN has no figure."""
CamelWord = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
"""One CamelCase word, such as a reason."""
