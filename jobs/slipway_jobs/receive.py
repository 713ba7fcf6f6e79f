"""`slipway-jobs receive URI`: a tar stream on stdin into the store, for `kubectl slipway push`."""

import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO

from slipway.contract.report import ExitCode, ToolReport
from slipway_jobs.failure import Failure, InvalidConfig
from slipway_jobs.store import Store


def run(uri: str, store: Store, stream: IO[bytes] | None = None) -> ToolReport:
    """What the archive has, below `uri`."""
    source = stream or sys.stdin.buffer
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            with tarfile.open(fileobj=source, mode="r|*") as archive:
                files = [_extract(archive, member, folder) for member in archive if member.isfile()]
        except (tarfile.TarError, EOFError) as error:
            _drain(source)
            raise Failure("UploadBroken", f"The upload to {uri} is cut: {error}.", ExitCode.DATA) from error
        except Failure:
            _drain(source)
            raise
        if not files:
            raise InvalidConfig(f"The upload to {uri} holds no files.")
        size = sum(path.stat().st_size for path in files)
        store.upload(folder, uri.rstrip("/"))
    print(f"{len(files)} files, {size / 1e6:.1f} MB, are in {store.resolve(uri)}", flush=True)
    return ToolReport(task="receive", outcome="Succeeded")


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> Path:
    """Content only: links, devices, owners and modes have no place in the store. Python 3.11.2 has no filter for it."""
    target = (folder / member.name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise Failure("UploadBroken", f"{member.name} leaves the folder of the upload.", ExitCode.DATA)
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None  # a regular file has one
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)
    return target


def _drain(source: IO[bytes]) -> None:
    """A sender that can't get rid of its bytes never hears why."""
    while source.read(1 << 20):
        pass
