"""The pod's own disk: dataset, checkpoints on their way to the store, output."""

import os
from pathlib import Path

from slipway.contract.config import WORKSPACE


def workspace(name: str) -> Path:
    """A folder of the workspace, made if need be. SLIPWAY_WORKSPACE replaces the mount outside of a pod."""
    folder = Path(os.environ.get("SLIPWAY_WORKSPACE", WORKSPACE)) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
