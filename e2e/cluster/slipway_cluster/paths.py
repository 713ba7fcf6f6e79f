"""Where things lie: the cache, the programs of this version of the modules, one folder per cluster."""

import hashlib
import os
from pathlib import Path

KUBERNETES = "1.36.3"
MODULES = Path(__file__).resolve().parent.parent / "modules"
MANIFESTS = Path(__file__).resolve().parent.parent / "manifests"


def cache() -> Path:
    """The folder for everything that may be deleted and made again; never inside the checkout."""
    return Path(os.environ.get("SLIPWAY_CACHE") or Path.home() / ".cache" / "slipway").resolve()


def programs() -> Path:
    """The folder of the built programs. Its name changes with any pinned version: old programs never mix in."""
    pins = hashlib.sha256()
    for file in sorted(MODULES.glob("*/go.*")):
        pins.update(file.relative_to(MODULES).as_posix().encode() + b"\0" + file.read_bytes())
    return cache() / f"bin-{KUBERNETES}-{pins.hexdigest()[:8]}"


def clusters() -> Path:
    return cache() / "clusters"
