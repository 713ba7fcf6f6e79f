"""Takes our finalizer off every ModelVersion. Helm runs it before the release is deleted.

The operator is stopped first: while it works it would put the finalizer back on every version in use.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from slipway import logs
from slipway.adapters import kube
from slipway.adapters.kube import Api, Conflict, KubeError, NotFound
from slipway.decision import Manifest
from slipway.settings import PREFIX
from slipway.writer import FINALIZER

log = logging.getLogger(__name__)

OPERATOR_ENDS_WITHIN = 60.0
LOOK_SECONDS = 1.0


def main() -> None:
    logs.set_up("INFO")
    try:
        namespace, deployment = os.environ[f"{PREFIX}NAMESPACE"], os.environ[f"{PREFIX}DEPLOYMENT"]
    except KeyError as error:
        sys.exit(f"slipway: {error.args[0]} is not set: set it (the chart's hook does)")
    watched = [name for name in os.environ.get(f"{PREFIX}WATCH_NAMESPACES", "").split(",") if name]
    try:
        asyncio.run(run(os.environ.get("KUBECONFIG"), namespace, deployment, watched))
    except (KubeError, TimeoutError) as error:
        sys.exit(f"slipway: {error}")


async def run(kubeconfig: str | None, namespace: str, deployment: str, watched: Sequence[str] = ()) -> None:
    """In the watched namespaces; in all if none is named."""
    api = await kube.connect(kubeconfig)
    try:
        await stop_operator(api, namespace, deployment)
        for place in watched or (None,):
            for version in (await api.list("ModelVersion", place)).items:
                await release(api, version)
    finally:
        await api.close()


async def stop_operator(api: Api, namespace: str, name: str) -> None:
    """Until its last pod has ended: one that is ending still works, and isn't counted in the Deployment's status."""
    try:
        stopped = await api.patch("Deployment", namespace, name, {"spec": {"replicas": 0}})
    except NotFound:
        log.info("Deployment %s is gone already", name)
        return
    labels = stopped["spec"]["selector"]["matchLabels"]
    try:
        async with asyncio.timeout(OPERATOR_ENDS_WITHIN):
            while any(map(_works, (await api.list("Pod", namespace, labels)).items)):  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise TimeoutError(
            f"Deployment {name} in namespace {namespace} still has pods after {OPERATOR_ENDS_WITHIN:.0f} s, "
            "and they would put the finalizers back: delete them, then uninstall again"
        ) from None


def _works(pod: Manifest) -> bool:
    """Evicted pods stay, and do nothing."""
    return (pod.get("status") or {}).get("phase") not in ("Failed", "Succeeded")


async def release(api: Api, version: Manifest) -> None:
    """Try again on a change in between; a version that is gone needs nothing."""
    namespace, name = version["metadata"]["namespace"], version["metadata"]["name"]
    while True:
        try:
            latest = (await api.get("ModelVersion", namespace, name))["metadata"]
            present = latest.get("finalizers") or []
            if FINALIZER not in present:
                return
            kept = [finalizer for finalizer in present if finalizer != FINALIZER]
            body = {"metadata": {"finalizers": kept, "resourceVersion": latest["resourceVersion"]}}
            await api.patch("ModelVersion", namespace, name, body)
            log.info("released ModelVersion %s/%s", namespace, name)
            return
        except Conflict:
            continue
        except NotFound:
            return


if __name__ == "__main__":
    main()
