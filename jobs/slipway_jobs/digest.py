"""Digests: what content is called. A file's is its sha256; a folder's that of its manifest."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 20
REPORT = "report.json"
"""Tells of the content, digest included, and so is no part of it."""


@dataclass(frozen=True)
class Content:
    digest: str
    files: int
    size: int

    @property
    def short(self) -> str:
        return short(self.digest)


def of_file(path: Path) -> str:
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            seen.update(chunk)
    return seen.hexdigest()


def of_folder(folder: Path, takes: Callable[[str], bool] = lambda name: name != REPORT) -> Content:
    """The manifest has one line per file, sorted by path: `path size sha256`."""
    lines, size = [], 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if takes(name):
            size += path.stat().st_size
            lines.append(f"{name} {path.stat().st_size} {of_file(path)}\n")
    lines.sort()
    return Content(of_text("".join(lines)), len(lines), size)


def of_path(path: Path) -> Content:
    """A single file is called by its own sha256, so that `sha256sum` shows the same."""
    if path.is_file():
        return Content(f"sha256:{of_file(path)}", 1, path.stat().st_size)
    return of_folder(path)


def of_text(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def short(digest: str) -> str:
    """sha256: and 12 digits, as shown to people."""
    return digest[: len("sha256:") + 12]


def plain(digest: str) -> str:
    """The first 12 hex digits, as in a path."""
    return digest.removeprefix("sha256:")[:12]
