"""Model folders: bring one from the store and check it, write one to the store and describe it."""

from pathlib import Path

from slipway.contract.base import Named
from slipway.contract.examples import FILE as EXAMPLES
from slipway.contract.examples import ExampleSet
from slipway.contract.report import Artifact, Examples, ExitCode
from slipway_jobs import digest, inference
from slipway_jobs.failure import Failure
from slipway_jobs.store import Store, join

MODEL = "model.onnx"


def fetch_model(store: Store, uri: str, wanted: Named | None, folder: Path) -> Path:
    """Downloads a version and gives the path of its ONNX file; its digest is checked if `wanted` names one."""
    entries = store.download(uri, folder)
    # A URI that names a file is that file; everything else is a folder.
    single = len(entries) == 1 and store.resolve(uri).rstrip("/").endswith(entries[0].path)
    content = digest.of_path(folder / entries[0].path) if single else digest.of_folder(folder)
    if wanted is not None and content.digest != wanted.digest:
        raise Failure(
            "DigestMismatch",
            f"{wanted.name} should be {digest.short(wanted.digest)}, {store.resolve(uri)} holds {content.short}; "
            "it is not loaded.",
            ExitCode.DATA,
        )
    return folder / entries[0].path if single else onnx_file(folder, store.resolve(uri))


def onnx_file(folder: Path, uri: str) -> Path:
    """model.onnx, or the only .onnx file there is."""
    if (folder / MODEL).is_file():
        return folder / MODEL
    found = sorted(folder.rglob("*.onnx"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise Failure(
            "NotLoadable", f"{uri} has {names}; expected one .onnx file, or {MODEL}.", ExitCode.DATA
        )
    return found[0]


def publish(folder: Path, store: Store, uri: str) -> Artifact:
    """Uploads a finished model folder (model.onnx last) and says what was uploaded."""
    content = digest.of_folder(folder)
    examples = ExampleSet.model_validate_json((folder / EXAMPLES).read_bytes())
    store.upload(folder, uri, last=MODEL)
    return Artifact(
        storage_uri=store.resolve(uri.rstrip("/")) + "/",
        digest=content.digest,
        size_bytes=(folder / MODEL).stat().st_size,
        files=content.files,
        signature=inference.signature(inference.read(folder / MODEL)),
        examples=Examples(count=len(examples.examples), storage_uri=store.resolve(join(uri, EXAMPLES))),
    )
