"""The HTTPS port that running jobs push their progress to, in the format of Kubeflow Trainer's status server.

A job pod shows its projected service-account token. It is checked without asking anybody: signature by the API
server's published keys, audience, expiry; and the pod it was made for must be one of the object's current
attempt, as the cache knows it.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from aiohttp import web

from slipway.adapters.certificates import Pair, load_pair
from slipway.adapters.kube import KubeError
from slipway.cache import Objects
from slipway.contract import progress_wire
from slipway.contract.config import PROGRESS_AUDIENCE
from slipway.contract.report import Progress
from slipway.decision import Key, Manifest
from slipway.manifests import ATTEMPT, KIND, NAME

logger = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
REFRESH_S = 30.0
"""Keys are fetched at most this often, however many tokens name unknown ones."""


@dataclass(frozen=True)
class Issuer:
    """Of service-account tokens: /.well-known/openid-configuration and the keys it points to."""

    name: str
    jwks: Mapping[str, Any]


@dataclass(frozen=True)
class Sender:
    """The object that a pod works for."""

    key: Key
    uid: str
    attempt: int


class Refused(Exception):
    """Not taken; the message says why and goes back to the sender."""


def sender(objects: Objects, namespace: str, name: str, pod_name: str, pod_uid: str) -> Sender:
    """The object called `name` that this pod works for in its current attempt. Refused if there is none."""
    pod = objects.get("Pod", namespace, pod_name)
    if pod is None or pod["metadata"]["uid"] != pod_uid:
        raise Refused(f"pod {pod_name} with uid {pod_uid} is no job pod of Slipway in {namespace}")
    labels = pod["metadata"].get("labels", {})
    if labels.get(NAME) != name or ATTEMPT not in labels or KIND not in labels:
        raise Refused(f"pod {pod_name} doesn't work for {name}")
    key, attempt = Key(labels[KIND], namespace, name), int(labels[ATTEMPT])
    owner = objects.get(key.kind, namespace, name)
    if owner is None:
        raise Refused(f"there is no {key}")
    uid: str = owner["metadata"]["uid"]
    jobs = objects.owned(uid, "Job")
    current = max((_attempt(job) for job in jobs), default=0)
    if attempt != current:
        raise Refused(
            f"pod {pod_name} is of attempt {attempt} of {key}; attempt {current} is the current one"
        )
    return Sender(key, uid, attempt)


def _attempt(job: Manifest) -> int:
    return int(job["metadata"].get("labels", {}).get(ATTEMPT, 0))


class Tokens:
    """Checks tokens offline."""

    def __init__(self, fetch: Callable[[], Awaitable[Issuer]]) -> None:
        self._fetch = fetch
        self._issuer: Issuer | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._lock = asyncio.Lock()

    async def pod(self, token: str) -> tuple[str, str, str]:
        """(namespace, pod name, pod uid) that the token was made for. Refused if it isn't good."""
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid"))
            if self._issuer is None or key is None:
                raise Refused("the token is signed by no key of this cluster's API server")
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=PROGRESS_AUDIENCE,
                issuer=self._issuer.name,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.InvalidTokenError as error:
            raise Refused(f"the token isn't good: {error}") from error
        bound: dict[str, Any] = claims.get("kubernetes.io") or {}
        pod: dict[str, Any] = bound.get("pod") or {}
        if not pod:
            raise Refused("the token is bound to no pod: mount it as a projected service-account token")
        return bound["namespace"], pod["name"], pod["uid"]

    async def _key(self, kid: str | None) -> jwt.PyJWK | None:
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if kid not in self._keys and now - self._fetched_at >= REFRESH_S:
                self._fetched_at = now
                self._issuer = await self._fetch()
                keys = jwt.PyJWKSet.from_dict(dict(self._issuer.jwks)).keys
                self._keys = {key.key_id: key for key in keys if key.key_id}
        return self._keys.get(kid or "")


class ProgressServer:
    """`latest` is what every object's running job said last, by the object's uid."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Issuer]],
        sender: Callable[[str, str, str, str], Sender],
        now: Callable[[], datetime],
        on_progress: Callable[[Key], None],
    ) -> None:
        """`sender`: the function of this name over the cache. `on_progress`: queues the object."""
        self._tokens = Tokens(fetch)
        self._sender = sender
        self._now = now
        self._on_progress = on_progress
        self._runner: web.AppRunner | None = None
        self._tls: ssl.SSLContext | None = None
        self.latest: dict[str, Progress] = {}

    async def start(self, pair: Pair, host: str, port: int) -> int:
        """The port it listens on (port 0: any)."""
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_pair(self._tls, pair)
        app = web.Application(client_max_size=progress_wire.MAX_BODY)
        app.router.add_post("/{path:.*}", self._post)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=self._tls)
        await site.start()
        bound: int = self._runner.addresses[0][1]
        return bound

    def renew(self, pair: Pair) -> None:
        """Certificates for connections from now on."""
        if self._tls is not None:
            load_pair(self._tls, pair)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def forget(self, uid: str) -> None:
        """The object is gone or its job has ended."""
        self.latest.pop(uid, None)

    async def _post(self, request: web.Request) -> web.Response:
        place = progress_wire.parse_path(request.path)
        if place is None:
            return _told(404, f"progress is posted to {progress_wire.path('<namespace>', '<name>')}")
        namespace, name = place
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return _told(401, "no bearer token: send the one at the projected token path")
        try:
            token_namespace, pod_name, pod_uid = await self._tokens.pod(token)
        except Refused as reason:
            return _told(401, str(reason))
        except (OSError, TimeoutError, KubeError) as error:
            logger.warning("The API server's token keys can't be read: %s", error)
            return _told(503, "the API server's token keys can't be read now; send again later")
        if token_namespace != namespace:
            return _told(403, f"the token is of namespace {token_namespace}, the path of {namespace}")
        try:
            found = self._sender(namespace, name, pod_name, pod_uid)
        except Refused as reason:
            return _told(403, str(reason))
        try:
            progress = progress_wire.decode(await request.read(), self._now())
        except web.HTTPRequestEntityTooLarge:
            return _told(413, f"progress is over {progress_wire.MAX_BODY} bytes")
        except ValueError as reason:
            return _told(400, str(reason))
        self.latest[found.uid] = progress.model_copy(update={"attempt": found.attempt})
        self._on_progress(found.key)
        return web.json_response({})


def _told(status: int, message: str) -> web.Response:
    logger.debug("Progress refused with %s: %s", status, message)
    return web.json_response({"error": message}, status=status)
