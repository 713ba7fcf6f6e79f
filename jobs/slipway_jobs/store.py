"""The store: every byte that comes into or leaves a pod, by fsspec.

`store://PATH` is a path in the namespace's own store, whose URI and credentials are in the environment
(contract.config.STORE_ENV). A file is put whole or not at all; a folder is put with its mark last.
"""

import errno
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import fsspec  # type: ignore[import-untyped]  # it has no types

from slipway.contract.report import ExitCode
from slipway_jobs.failure import Failure, InvalidConfig

ATTEMPTS = 4
FIRST_PAUSE = 1.0
PASSING = (errno.EIO, errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO))
"""What s3fs makes of SlowDown, ServiceUnavailable and InternalError; a store that is shutting down says the last."""
"""Seconds; doubles with each attempt, with jitter so that many pods don't come back at once."""
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """A file below a URI; `path` is relative to it (a file's own name if the URI names a file)."""

    path: str
    size: int


class Store:
    """Reads and writes URIs; retries what may pass, says the rest in a sentence."""

    def __init__(
        self, environment: Mapping[str, str] = os.environ, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.base = environment.get("SLIPWAY_STORE_URI", "").rstrip("/")
        self.endpoint = environment.get("SLIPWAY_STORE_ENDPOINT") or None
        self._key = environment.get("SLIPWAY_STORE_ACCESS_KEY_ID") or None
        self._secret = environment.get("SLIPWAY_STORE_SECRET_ACCESS_KEY") or None
        self._sleep = sleep

    def resolve(self, uri: str) -> str:
        """The real URI of `uri`: what status shows and others can read."""
        if ".." in urlsplit(uri).path.split("/"):
            raise InvalidConfig(f"{uri}: a path may not contain '..'.")
        if not uri.startswith("store://"):
            return uri
        if not self.base:
            raise Failure(
                "StoreNotConfigured",
                f"{uri}: this namespace has no store; create Secret slipway-store with key uri.",
                ExitCode.USER_ERROR,
            )
        return f"{self.base}/{uri.removeprefix('store://')}"

    def entries(self, uri: str) -> list[Entry]:
        """All files below a folder, or the one file, sorted by path."""
        fs, root = self._open(uri)

        def look() -> list[Entry]:
            if fs.isfile(root):
                return [Entry(root.rsplit("/", 1)[-1], int(fs.size(root)))]
            found = fs.find(root, detail=True)
            return sorted(
                (
                    Entry(name[len(root) :].lstrip("/"), int(info["size"]))
                    for name, info in found.items()
                    if not name.endswith("/")
                ),
                key=lambda entry: entry.path,
            )

        found = self._try(uri, look)
        if not found:
            raise Failure(
                "SourceUnreadable", f"{self.resolve(uri)}: there is no such file or folder.", ExitCode.DATA
            )
        return found

    def exists(self, uri: str) -> bool:
        fs, path = self._open(uri)
        return bool(self._try(uri, lambda: fs.exists(path)))

    def read(self, uri: str) -> bytes:
        fs, path = self._open(uri)
        return bytes(self._try(uri, lambda: fs.cat_file(path)))

    def write(self, uri: str, data: bytes) -> None:
        fs, path = self._open(uri)
        self._try(uri, lambda: _put(fs, path, data))

    def write_if_absent(self, uri: str, data: bytes) -> bool:
        """False if something is there already, which is then left alone."""
        fs, path = self._open(uri)

        def create() -> bool:
            if "file" in _protocols(fs):
                fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
                try:
                    with open(path, "xb") as file:
                        file.write(data)
                except FileExistsError:
                    return False
                return True
            try:
                fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            return True

        return bool(self._try(uri, create))

    def download(self, uri: str, folder: Path) -> list[Entry]:
        """Everything below `uri` (or the one file) into `folder`."""
        entries = self.entries(uri)
        fs, root = self._open(uri)
        single = fs.isfile(root)
        for entry in entries:
            target = folder / entry.path
            if not target.resolve().is_relative_to(folder.resolve()):
                raise InvalidConfig(f"{uri}: {entry.path} leaves its folder.")
            target.parent.mkdir(parents=True, exist_ok=True)
            source = root if single else f"{root}/{entry.path}"
            self._try(uri, partial(fs.get_file, source, str(target)))
        return entries

    def upload(self, folder: Path, uri: str, last: str | None = None) -> None:
        """Every file of `folder` to `uri`; the file named `last`, the mark, when all others are there."""
        names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        if last is not None:
            names.sort(key=lambda name: name == last)
        fs, root = self._open(uri)
        for name in names:
            source, target = folder / name, f"{root}/{name}"
            self._try(uri, partial(_put_file, fs, source, target))

    def delete(self, uri: str) -> None:
        """Removes a file or folder; nothing there is fine."""
        fs, path = self._open(uri)

        def remove() -> None:
            if fs.exists(path):
                fs.rm(path, recursive=True)

        self._try(uri, remove)

    def _open(self, uri: str) -> tuple[Any, str]:
        real = self.resolve(uri)
        scheme = urlsplit(real).scheme
        options: dict[str, Any] = {}
        if scheme == "s3":
            # Path-style addresses: an in-cluster store has no name per bucket.
            options = {
                "key": self._key,
                "secret": self._secret,
                "endpoint_url": self.endpoint,
                "use_listings_cache": False,
                "config_kwargs": {
                    "s3": {"addressing_style": "path"},
                    "connect_timeout": 5,
                    "read_timeout": 60,
                    "retries": {"max_attempts": 1},
                },
            }
        try:
            fs, path = fsspec.core.url_to_fs(real, **options)
        except (ValueError, ImportError) as error:
            raise InvalidConfig(f"{real}: can't be opened: {error}") from error
        return fs, path.rstrip("/")

    def _try(self, uri: str, act: Callable[[], T]) -> T:
        """`act`, again after a pause while the store can't be reached."""
        real = self.resolve(uri)
        where = self.endpoint if real.startswith("s3://") and self.endpoint else real
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return act()
            except FileNotFoundError as error:
                raise Failure("SourceUnreadable", f"{real}: not found.", ExitCode.DATA) from error
            except PermissionError as error:
                raise Failure(
                    "StoreUnreachable",
                    f"{real}: access refused ({error}); check the keys in Secret slipway-store.",
                    ExitCode.STORE,
                ) from error
            except Exception as error:
                if not _may_pass(error):
                    raise
                if attempt == ATTEMPTS:
                    raise Failure(
                        "StoreUnreachable",
                        f"Can't reach {where} ({_cause(error)}), tried {ATTEMPTS} times.",
                        ExitCode.STORE,
                    ) from error
                pause = FIRST_PAUSE * 2 ** (attempt - 1)
                self._sleep(pause * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")


def join(uri: str, *names: str) -> str:
    return "/".join([uri.rstrip("/"), *names])


def _put(fs: Any, path: str, data: bytes) -> None:
    if "file" in _protocols(fs):
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        temporary = f"{path}.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        return
    fs.pipe_file(path, data)


def _put_file(fs: Any, source: Path, path: str) -> None:
    if "file" in _protocols(fs):
        _put(fs, path, source.read_bytes())
        return
    fs.put_file(str(source), path)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _may_pass(error: BaseException) -> bool:
    """Errors of the network or of a busy store, by type; botocore and aiohttp are there only with s3fs."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    library = type(error).__module__.split(".")[0]
    if library in ("botocore", "aiohttp", "aiobotocore"):
        return True
    # s3fs translates what S3 answers (SlowDown, InternalError) to a bare OSError.
    return isinstance(error, OSError) and (
        error.errno is None or (type(error) is OSError and error.errno in PASSING)
    )


def _cause(error: BaseException) -> str:
    """The innermost reason in a few words: that is what tells refused from unknown host."""
    text = str(error) or type(error).__name__
    lowered = text.lower()
    known = {
        "refused": "connection refused",
        "name or service not known": "unknown host",
        "could not connect": "connection refused",
        "timeout": "no answer in time",
    }
    return next((short for sign, short in known.items() if sign in lowered), text[:200])
