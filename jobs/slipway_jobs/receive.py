"""`slipway-jobs receive URI`: a tar stream on stdin into the store, for `kubectl slipway push`."""

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
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            with tarfile.open(fileobj=stream or sys.stdin.buffer, mode="r|*") as archive:
                # The filter refuses what would leave the folder, links out of it, and devices.
                archive.extractall(folder, filter="data")
        except (tarfile.TarError, EOFError) as error:
            raise Failure(
                "UploadBroken", f"The upload to {uri} is cut or unsafe: {error}.", ExitCode.DATA
            ) from error
        files = [path for path in folder.rglob("*") if path.is_file()]
        if not files:
            raise InvalidConfig(f"The upload to {uri} holds no files.")
        size = sum(path.stat().st_size for path in files)
        store.upload(folder, uri.rstrip("/"))
    print(f"{len(files)} files, {size / 1e6:.1f} MB, are in {store.resolve(uri)}", flush=True)
    return ToolReport(task="receive", outcome="Succeeded")
