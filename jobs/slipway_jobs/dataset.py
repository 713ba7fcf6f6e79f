"""Task dataset: read, validate, split, digest, profile, and write a prepared copy under its digest.

A prepared copy holds <split>/<input>.npy and <split>/<target>.npy (memory-mappable), profile.json, and
manifest.json: schema, preprocessing with every number filled in, splits, and the sha256 of each file. The
manifest is written last, so a copy is whole or absent.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway.contract.base import Tensor
from slipway.contract.config import DatasetInput, DatasetTask, JobConfig, Schema
from slipway.contract.report import DatasetReport, ExitCode, SplitRows
from slipway_jobs import digest, quality, report
from slipway_jobs.failure import Failure, InvalidConfig
from slipway_jobs.formats import Rows
from slipway_jobs.split import split
from slipway_jobs.store import Store, join

FORMAT = 1
"""Version of the prepared copy; part of the digest, so another layout is another dataset."""
MANIFEST = "manifest.json"


def run(config: JobConfig, task: DatasetTask, store: Store) -> DatasetReport:
    if len(task.schema_.inputs) != 1:
        raise InvalidConfig(
            f"schema.inputs has {len(task.schema_.inputs)} tensors; format {task.format} gives one."
        )
    if task.schema_.target_type == "Class" and not task.schema_.classes:
        raise InvalidConfig(
            "schema.target.classes is empty; type Class needs the classes' names in their order."
        )
    with tempfile.TemporaryDirectory() as temporary:
        source, copy = Path(temporary, "source"), Path(temporary, "copy")
        store.download(task.source_uri, source)
        content = digest.of_folder(source, takes=lambda name: True)
        print(f"dataset: read {content.files} files, {content.size / 1e6:.1f} MB", flush=True)
        splits = split(_read(source, task), task.split)
        measured = quality.figures(splits, task.schema_)
        profile, document = quality.profile(splits, task.schema_)
        preprocessing = resolve(task.preprocessing, splits["train"], task.schema_.inputs[0])
        identity = _identity(content.digest, task)
        _write(copy, splits, task.schema_, preprocessing, identity, document)
        target = join(task.output_uri, digest.plain(identity))
        if not store.exists(join(target, MANIFEST)):
            store.upload(copy, target, last=MANIFEST)
        size = sum(path.stat().st_size for path in copy.rglob("*") if path.is_file())
    result = DatasetReport(
        outcome="Succeeded",
        attempt=config.attempt,
        digest=identity,
        storage_uri=store.resolve(target) + "/",
        source_uri=store.resolve(task.source_uri),
        source_files=content.files,
        source_bytes=content.size,
        rows=sum(len(rows) for rows in splits.values()),
        size_bytes=size,
        splits=[SplitRows(name=name, rows=len(rows)) for name, rows in splits.items()],
        classes=len(task.schema_.classes or []) or None,
        profile=profile,
        profile_uri=store.resolve(join(target, "profile.json")),
        measurements=measured.measurements(task.gates),
    )
    report.keep(result, store, target, config)
    return result


def _read(source: Path, task: DatasetTask) -> dict[str, Rows]:
    if task.format == "IDX":
        from slipway_jobs.formats import idx

        return idx.read(source, task.schema_)
    from slipway_jobs.formats import image_folder

    return image_folder.read(source, task.schema_)


def _identity(source: str, task: DatasetTask) -> str:
    """What the rows are: source bytes, schema, split, preprocessing. Not the augmentation, not the checks."""
    told = {
        "format": [FORMAT, task.format],
        "source": source,
        "schema": task.schema_.model_dump(mode="json"),
        "split": task.split.model_dump(mode="json"),
        "preprocessing": task.preprocessing,
    }
    return digest.of_text(json.dumps(told, sort_keys=True, separators=(",", ":")))


def resolve(
    steps: list[dict[str, dict[str, Any]]], train: Rows, tensor: Tensor
) -> list[dict[str, dict[str, Any]]]:
    """The steps with every number in them: an empty normalize is computed on train, behind the steps before it."""
    known: list[dict[str, dict[str, Any]]] = []
    factor = 1.0
    for number, step in enumerate(steps):
        (name, options), *others = step.items()
        if others or name not in ("scale", "normalize"):
            raise InvalidConfig(
                f"preprocessing[{number}] is {', '.join(step)}; allowed is one of scale and normalize."
            )
        if name == "scale":
            divisor = float(options.get("divisor", 0))
            if not divisor:
                raise InvalidConfig(
                    f"preprocessing[{number}].scale.divisor is {options.get('divisor')}; it can't be 0."
                )
            factor /= divisor
            known.append({"scale": {"divisor": divisor}})
            continue
        if bool(options.get("mean")) != bool(options.get("std")):
            raise InvalidConfig(f"preprocessing[{number}].normalize: set both mean and std, or neither.")
        mean, std = options.get("mean") or [], options.get("std") or []
        if not mean:
            mean, std = _moments(train.inputs, tensor.shape, factor)
        axis = channel_axis(tensor.shape)
        channels = 1 if axis is None else tensor.shape[axis]
        if not len(mean) == len(std) == channels:
            raise InvalidConfig(
                f"preprocessing[{number}].normalize has {len(mean)} means and {len(std)} stds; "
                f"input {tensor.name} has {channels} channels."
            )
        if any(not value for value in std):
            raise InvalidConfig(
                f"preprocessing[{number}].normalize.std is {std}; a value that never varies has none."
            )
        known.append({"normalize": {"mean": mean, "std": std}})
    return known


def _moments(inputs: NDArray[np.generic], shape: list[int], factor: float) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel ([h, w] has one)."""
    axis = channel_axis(shape)
    count, total, square = 0, np.zeros(1), np.zeros(1)
    for start in range(0, len(inputs), 4096):
        part = inputs[start : start + 4096].astype(np.float64) * factor
        part = (
            part.reshape(-1, 1) if axis is None else np.moveaxis(part, axis + 1, -1).reshape(-1, shape[axis])
        )
        count, total, square = (
            count + len(part),
            total + part.sum(axis=0),
            square + np.square(part).sum(axis=0),
        )
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean**2, 0))
    return [round(float(v), 6) for v in mean], [round(float(v), 6) for v in std]


def channel_axis(shape: list[int]) -> int | None:
    """Where the channels of an image are in a row's shape: None for [h, w]."""
    if len(shape) != 3:
        return None
    return 0 if shape[0] in (1, 3) else 2


def _write(
    folder: Path,
    splits: dict[str, Rows],
    schema: Schema,
    preprocessing: list[dict[str, dict[str, Any]]],
    identity: str,
    profile: dict[str, Any],
) -> None:
    for name, rows in splits.items():
        (folder / name).mkdir(parents=True)
        np.save(folder / name / f"{schema.inputs[0].name}.npy", rows.inputs)
        np.save(folder / name / f"{schema.target}.npy", rows.targets)
    (folder / "profile.json").write_text(json.dumps(profile))
    manifest = {
        "format": FORMAT,
        "digest": identity,
        "schema": schema.model_dump(mode="json", by_alias=True, exclude_none=True),
        "preprocessing": preprocessing,
        "splits": {name: len(rows) for name, rows in splits.items()},
        "files": {p.relative_to(folder).as_posix(): digest.of_file(p) for p in sorted(folder.rglob("*.npy"))},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


@dataclass(frozen=True)
class Prepared:
    """A prepared copy on this machine."""

    folder: Path
    digest: str
    schema: Schema
    preprocessing: list[dict[str, dict[str, Any]]]
    splits: dict[str, int]

    @property
    def classes(self) -> list[str]:
        return self.schema.classes or []

    def rows(self, split_name: str) -> Rows:
        """One split, memory-mapped."""
        if split_name not in self.splits:
            raise InvalidConfig(f"The dataset has no split {split_name}; it has {', '.join(self.splits)}.")
        folder = self.folder / split_name
        return Rows(
            np.load(folder / f"{self.schema.inputs[0].name}.npy", mmap_mode="r"),
            np.load(folder / f"{self.schema.target}.npy", mmap_mode="r"),
        )


def load(dataset: DatasetInput, store: Store, folder: Path) -> Prepared:
    """A prepared copy from the store, each file checked. A folder that is filled already is used as it is."""
    if not (folder / MANIFEST).exists():
        store.download(dataset.storage_uri, folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise _damaged(dataset, f"has no {MANIFEST}; it was never finished") from None
    if manifest["digest"] != dataset.digest:
        raise Failure(
            "DigestMismatch",
            f"Dataset {dataset.name} should be {digest.short(dataset.digest)}, "
            f"{store.resolve(dataset.storage_uri)} holds {digest.short(manifest['digest'])}.",
            ExitCode.DATA,
        )
    for name, wanted in manifest["files"].items():
        if not (folder / name).is_file() or digest.of_file(folder / name) != wanted:
            raise _damaged(dataset, f"{name} isn't what {MANIFEST} says")
    return Prepared(
        folder,
        dataset.digest,
        Schema.model_validate(manifest["schema"]),
        manifest["preprocessing"],
        manifest["splits"],
    )


def _damaged(dataset: DatasetInput, what: str) -> Failure:
    return Failure("DigestMismatch", f"The prepared copy of Dataset {dataset.name}: {what}.", ExitCode.DATA)
