"""Takes our finalizer off every ModelVersion. Helm runs it before the release is deleted.

The operator is stopped first: while it works it would put the finalizer back on every version in use.
"""

import asyncio
import logging
import os
import sys

from slipway import logs
from slipway.adapters import kube
from slipway.adapters.kube import Conflict, Kube, KubeError, NotFound
from slipway.settings import PREFIX
from slipway.writer import FINALIZER

log = logging.getLogger(__name__)

OPERATOR_ENDS_WITHIN = 60.0


def main() -> None:
    logs.set_up("INFO")
    try:
        namespace, deployment = os.environ[f"{PREFIX}NAMESPACE"], os.environ[f"{PREFIX}DEPLOYMENT"]
        asyncio.run(run(os.environ.get("KUBECONFIG"), namespace, deployment))
    except KeyError as error:
        sys.exit(f"{error.args[0]} is not set: set it (the chart's hook does)")
    except (KubeError, TimeoutError) as error:
        sys.exit(f"slipway: {error}")


async def run(kubeconfig: str | None, namespace: str, deployment: str) -> None:
    api = await kube.connect(kubeconfig)
    try:
        await stop_operator(api, namespace, deployment)
        for version in (await api.list("ModelVersion")).items:
            await release(api, version)
    finally:
        await api.close()


async def stop_operator(api: Kube, namespace: str, name: str) -> None:
    try:
        await api.patch("Deployment", namespace, name, {"spec": {"replicas": 0}})
        async with asyncio.timeout(OPERATOR_ENDS_WITHIN):
            while (await api.get("Deployment", namespace, name)).get("status", {}).get("replicas"):  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(1)
    except NotFound:
        log.info("Deployment %s is gone already", name)
    except TimeoutError:
        raise TimeoutError(f"Deployment {name} still has pods after {OPERATOR_ENDS_WITHIN:.0f} s") from None


async def release(api: Kube, version: dict[str, object]) -> None:
    """Try again on a change in between; a version that is gone needs nothing."""
    metadata: dict[str, object] = version["metadata"]  # type: ignore[assignment]  # a manifest's metadata
    namespace, name = str(metadata["namespace"]), str(metadata["name"])
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
