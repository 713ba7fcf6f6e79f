"""`slipway-jobs send URI`: a file or a folder of the store as a tar stream on stdout, for `kubectl slipway pull`."""

import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO

from slipway.contract.report import ToolReport
from slipway_jobs.store import Store


def run(uri: str, store: Store, stream: IO[bytes] | None = None) -> ToolReport:
    """A folder's files keep their paths below it; a file has its own name."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        entries = store.download(uri, folder)
        with tarfile.open(fileobj=stream or sys.stdout.buffer, mode="w|") as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.add(path, arcname=str(path.relative_to(folder)))
        size = sum(entry.size for entry in entries)
    print(
        f"{len(entries)} files, {size / 1e6:.1f} MB, from {store.resolve(uri)}", file=sys.stderr, flush=True
    )
    return ToolReport(task="send", outcome="Succeeded")
