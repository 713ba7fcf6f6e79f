"""Task verify: read a version's bytes - digest, signature, that it loads, its examples."""

import tempfile
from pathlib import Path

from slipway.contract.base import Signature
from slipway.contract.config import JobConfig, VerifyTask
from slipway.contract.examples import ExampleSet, difference
from slipway.contract.report import Examples, ExitCode, VerifyReport
from slipway_jobs import digest, inference, samples
from slipway_jobs.failure import Failure
from slipway_jobs.model_files import onnx_file
from slipway_jobs.store import Store

TOLERANCE = 1e-3


def run(config: JobConfig, task: VerifyTask, store: Store) -> VerifyReport:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        entries = store.download(task.storage_uri, folder)
        single = len(entries) == 1 and store.resolve(task.storage_uri).endswith(entries[0].path)
        content = digest.of_path(folder / entries[0].path) if single else digest.of_folder(folder)
        if task.digest is not None and content.digest != task.digest:
            what = "the file is" if content.files == 1 else f"the {content.files} files are"
            raise Failure(
                "DigestMismatch",
                f"spec.digest is {digest.short(task.digest)}, {what} {content.short}; it is not loaded.",
                ExitCode.DATA,
            )
        path = folder / entries[0].path if single else onnx_file(folder, store.resolve(task.storage_uri))
        size = path.stat().st_size
        signature = inference.signature(inference.read(path))
        if task.signature is not None:
            signature = _agree(task.signature, signature)
        examples = _examples(path, signature, task, store)
    return VerifyReport(
        outcome="Succeeded",
        attempt=config.attempt,
        storage_uri=store.resolve(task.storage_uri),
        digest=content.digest,
        size_bytes=size,
        files=content.files,
        signature=signature,
        examples=Examples(count=len(examples.examples), storage_uri=store.resolve(task.examples_uri)),
        runtime=inference.runtime(),
    )


def _agree(told: Signature, found: Signature) -> Signature:
    """The told signature must be the file's; names of classes may come from either."""
    for side in ("inputs", "outputs"):
        wanted = [(t.name, t.datatype, t.shape) for t in getattr(told, side)]
        given = [(t.name, t.datatype, t.shape) for t in getattr(found, side)]
        if wanted != given:
            raise Failure(
                "SignatureMismatch",
                f"spec.signature.{side} is {_say(wanted)}, the file has {_say(given)}.",
                ExitCode.USER_ERROR,
            )
    return Signature(
        inputs=found.inputs,
        outputs=[
            have.model_copy(update={"classes": said.classes or have.classes})
            for said, have in zip(told.outputs, found.outputs, strict=True)
        ],
    )


def _say(tensors: list[tuple[str, str, list[int]]]) -> str:
    return ", ".join(f"{name} {datatype} {shape}" for name, datatype, shape in tensors)


def _examples(path: Path, signature: Signature, task: VerifyTask, store: Store) -> ExampleSet:
    """Replays the examples there are; makes some where there are none."""
    running = inference.session(path)
    if not store.exists(task.examples_uri):
        made = _made(running, signature)
        store.write_if_absent(task.examples_uri, made.to_json().encode())
        return made
    try:
        kept = ExampleSet.model_validate_json(store.read(task.examples_uri))
    except ValueError as error:
        raise Failure(
            "ExamplesUnreadable", f"{store.resolve(task.examples_uri)}: {str(error)[:300]}", ExitCode.DATA
        ) from error
    if not kept.examples:
        raise Failure(
            "ExamplesUnreadable",
            f"{store.resolve(task.examples_uri)} holds no example; add one, or remove the file.",
            ExitCode.DATA,
        )
    for number, example in enumerate(kept.examples, 1):
        answer = samples.outputs_of(running, samples.inputs_of(example), signature)
        said = difference(example, answer, TOLERANCE)
        if said:
            raise Failure(
                "ExampleMismatch", f"The model {said} (example {number}); it is not loaded.", ExitCode.DATA
            )
    return kept


def _made(running: object, signature: Signature) -> ExampleSet:
    try:
        return samples.of_signature(running, signature)
    except Exception as error:  # onnxruntime's errors share no base; the sentence holds what it said
        raise Failure(
            "ExamplesImpossible",
            f"The model fails on inputs made from its signature ({str(error)[:200]}); put an examples.json beside it.",
            ExitCode.USER_ERROR,
        ) from error
