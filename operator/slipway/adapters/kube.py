"""The Kubernetes API: the only module that imports its client (parts of which have no types).

Requests go through the official package's asyncio client as plain JSON: no models, no discovery. Errors are
narrow types whose text is the server's message.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from slipway import metrics
from slipway.decision import Manifest
from slipway.resources import BY_KIND

FIELD_MANAGER = "slipway"
PAGE = 250
READ_SECONDS = 30.0
WRITE_SECONDS = 4.0
"""Less than the Lease's duration minus its renew deadline: what a leader began in time ends in time."""
_CONTENT_TYPE = {
    "apply": "application/apply-patch+yaml",  # JSON is YAML; the only type every served version takes
    "merge": "application/merge-patch+json",
}

Object = dict[str, Any]


class KubeError(Exception):
    """A request failed; the text says what the server said."""


class NotFound(KubeError):
    """There is no such object (or no such kind)."""


class AlreadyExists(KubeError):
    """An object of this name is there."""


class Conflict(KubeError):
    """The object isn't the one meant: another uid or a newer resourceVersion."""


class Forbidden(KubeError):
    """Not allowed: RBAC, quota or an admission policy."""


class NamespaceEnding(Forbidden):
    """The namespace is being deleted: nothing can be created in it."""


class Invalid(KubeError):
    """The server can't accept the object as it is; trying again won't help."""


class Unavailable(KubeError):
    """No answer, or not now. A write may or may not have happened."""


class Expired(KubeError):
    """A continue token is too old: list again from the start."""


@dataclass(frozen=True)
class Listing:
    items: list[Object]
    version: int
    """The state of the cluster that the list shows, as a resourceVersion."""


class Api(Protocol):
    """What the engine needs of the API; tests/cluster.py has it in memory, under the same tests."""

    async def get(self, kind: str, namespace: str, name: str) -> Object: ...
    async def list(
        self, kind: str, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Listing: ...
    async def create(self, manifest: Manifest) -> Object: ...
    async def apply(self, manifest: Manifest) -> Object: ...
    async def apply_status(
        self, kind: str, namespace: str, name: str, version: str, status: Mapping[str, Any]
    ) -> Object: ...
    async def patch(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> Object: ...
    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> Object | None: ...


class Kube:
    """One connection pool. `before_write` is called before each write; it raises when we may not write."""

    def __init__(self, client: ApiClient, before_write: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._before_write = before_write

    def guarded(self, before_write: Callable[[], None]) -> "Kube":
        """The same connection, its writes under a condition."""
        return Kube(self._client, before_write)

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]  # untyped

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        return await self._request("GET", BY_KIND[kind].path(namespace, name))

    async def list(
        self, kind: str, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Listing:
        """All pages of one state of the cluster."""
        items: list[Object] = []
        version = 0
        try:
            async for page in self._pages(kind, namespace, labels):
                items.extend(page["items"])
                version = int(page["metadata"]["resourceVersion"])
        except Expired as error:
            raise Unavailable(str(error)) from error
        resource = BY_KIND[kind]
        for item in items:  # items of a list come without them
            item["apiVersion"], item["kind"] = resource.api_version, kind
        return Listing(items, version)

    async def read(self, path: str) -> Object:
        """A document of the API server that is no object, such as its OpenID configuration."""
        return await self._request("GET", path)

    async def create(self, manifest: Manifest) -> Object:
        path = BY_KIND[manifest["kind"]].path(manifest["metadata"]["namespace"])
        return await self._write("POST", path, manifest, {"fieldManager": FIELD_MANAGER})

    async def apply(self, manifest: Manifest) -> Object:
        """Server-side apply under our field manager, taking over fields that others set."""
        metadata = manifest["metadata"]
        path = BY_KIND[manifest["kind"]].path(metadata["namespace"], metadata["name"])
        return await self._write("PATCH", path, manifest, _APPLY, content="apply")

    async def apply_status(
        self, kind: str, namespace: str, name: str, version: str, status: Mapping[str, Any]
    ) -> Object:
        """The whole status, on top of this resourceVersion: the server ignores a uid here (measured, 1.36)."""
        body = {
            "apiVersion": BY_KIND[kind].api_version,
            "kind": kind,
            "metadata": {"namespace": namespace, "name": name, "resourceVersion": version},
            "status": status,
        }
        path = BY_KIND[kind].path(namespace, name, "status")
        return await self._write("PATCH", path, body, _APPLY, content="apply")

    async def patch(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> Object:
        """Merge patch; metadata.uid and metadata.resourceVersion in it are preconditions."""
        path = BY_KIND[kind].path(namespace, name)
        return await self._write("PATCH", path, body, {"fieldManager": FIELD_MANAGER}, content="merge")

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> Object | None:
        """Delete that very object, its dependents in the background. What is left of it, if anything."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        answer = await self._write("DELETE", BY_KIND[kind].path(namespace, name), options, {})
        return None if answer["kind"] == "Status" else answer

    async def _pages(
        self, kind: str, namespace: str | None, labels: Mapping[str, str] | None
    ) -> AsyncIterator[Object]:
        query = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        while True:
            page = await self._request("GET", BY_KIND[kind].path(namespace), query=query)
            yield page
            if not page["metadata"].get("continue"):
                return
            query = {**query, "continue": page["metadata"]["continue"]}

    async def _write(
        self, method: str, path: str, body: Manifest, query: Mapping[str, str], content: str | None = None
    ) -> Object:
        self._before_write()
        return await self._request(method, path, body, query, content, WRITE_SECONDS)

    async def _request(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        query: Mapping[str, str] | None = None,
        content: str | None = None,
        timeout: float = READ_SECONDS,
    ) -> Object:
        # The token keys have a media type of their own (application/jwk-set+json).
        headers = {"Accept": "application/json, */*"}
        if content is not None:
            headers["Content-Type"] = _CONTENT_TYPE[content]
        verb = content or method.lower()
        try:
            request = await self._client.param_serialize(
                method, path, query_params=list((query or {}).items()), header_params=headers, body=body,
                auth_settings=["BearerToken"],
            )  # fmt: skip
            response = await self._client.call_api(*request, _request_timeout=timeout)
            text = await response.read()  # type: ignore[no-untyped-call]  # untyped
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            metrics.API_REQUESTS.labels(verb, "none").inc()
            raise Unavailable(
                f"{method} {path}: no answer from the API server ({str(error) or type(error).__name__})"
            ) from error
        metrics.API_REQUESTS.labels(verb, str(response.status)).inc()
        if response.status >= 300:
            raise _error(response.status, text, f"{method} {path}")
        answer: Object = json.loads(text)
        return answer


_APPLY = {"fieldManager": FIELD_MANAGER, "force": "true"}


async def connect(kubeconfig: str | None) -> Kube:
    """With a kubeconfig file, else with the pod's service account. Call it in the running loop."""
    configuration = Configuration()
    if kubeconfig is None:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # untyped
    else:
        await config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]  # untyped
    return Kube(ApiClient(configuration))


def _error(code: int, text: bytes, request: str) -> KubeError:
    """The narrow type for an answer; the server's message where it sent one."""
    try:
        status = json.loads(text)
        message, reason = str(status["message"]), status.get("reason")
        causes = {
            cause.get(part)
            for cause in (status.get("details") or {}).get("causes") or ()
            for part in ("reason", "field")
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        # Something between us and the API server answered, not in its words.
        message, reason, causes = (
            f"{request}: HTTP {code}: {text[:200].decode(errors='replace')}",
            None,
            set(),
        )
    match code:
        case 404:
            return NotFound(message)
        case 409:
            return AlreadyExists(message) if reason == "AlreadyExists" else Conflict(message)
        case 422 if "metadata.uid" in causes:  # how a patch or an apply says that the uid is another's
            return Conflict(message)
        case 401 | 403:
            return NamespaceEnding(message) if "NamespaceTerminating" in causes else Forbidden(message)
        case 410:
            return Expired(message)
        case 429 | 500 | 502 | 503 | 504:
            return Unavailable(message)
        case _:
            return Invalid(message)
