"""The operator's process with one small kind: a Model holds a finalizer and a ConfigMap of its aliases' names."""

import asyncio
import os
import sys

from slipway import logs, manifests
from slipway.__main__ import run
from slipway.api.model import Model
from slipway.cache import View
from slipway.contract.config import Owner
from slipway.controller import Controller
from slipway.decision import Decision, Key
from slipway.settings import read


def observe(view: View, key: Key) -> Model | None:
    found = view.objects.get(key.kind, key.namespace, key.name)
    return None if found is None else Model.model_validate(found)


def decide(model: Model) -> Decision:
    metadata = model.metadata
    if metadata.deletion_timestamp is not None:
        return Decision(finalizer=False)
    owner = Owner(kind="Model", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": manifests.metadata(owner, f"{owner.name}-aliases", manifests.labels(owner)),
        "data": {alias.name: "yes" for alias in model.spec.aliases},
    }
    status = {"observedGeneration": metadata.generation, "phase": "Ready", "summary": "Kept."}
    return Decision(apply=(config,), status=status, finalizer=True)


if __name__ == "__main__":
    settings = read(os.environ)
    logs.set_up(settings.log_level)
    sys.exit(asyncio.run(run(settings, (Controller("Model", observe, decide, lambda model: ()),), ())))
