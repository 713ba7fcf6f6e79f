"""Asks a revision one of its recorded examples through the routers, before it gets any traffic.

The probe sidecar of the revision gives the example (input and the answer recorded where the model was made),
Triton the answer, both through the listener that only the operator may use.
"""

import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from pydantic import ValidationError

from slipway.contract.examples import IndexedExample, difference, infer_answer, infer_request
from slipway.router.clusters import PROBE
from slipway.router.route import Endpoint, Route
from slipway.router.tables import CLUSTER_HEADER
from slipway.router.tls import ROUTER_NAME
from slipway.router.traffic import SelfTest

logger = logging.getLogger(__name__)

EXAMPLE_PATH = "/_slipway/example"
TOLERANCE = 1e-3
"""Relative and absolute; class decisions must be equal whatever the figures."""
PATIENCE_S = 30.0
"""So long a revision that can't be asked has no result: the router may not hold its cluster yet."""


@dataclass(frozen=True)
class Target:
    """A revision to be tested while it has ready endpoints."""

    key: str
    """<namespace>/<mdep>/<revision>."""
    endpoints: tuple[Endpoint, ...]

    @property
    def model(self) -> str:
        return self.key.split("/")[1]

    @property
    def revision(self) -> str:
        return self.key.rpartition("/")[2]


class _Unanswered(Exception):
    """No answer to judge; the message is the end of a sentence."""


@dataclass
class _State:
    target: Target
    since: datetime
    judged: bool = False
    """The result stands until the test is asked for anew or, if it failed, until its pods change."""


class SelfTests:
    """`want` says what is to be tested; `results` holds what came of it, by revision key."""

    def __init__(self, now: Callable[[], datetime], port: int, on_result: Callable[[], None]) -> None:
        self._now = now
        self._port = port
        self._on_result = on_result
        self._states: dict[str, _State] = {}
        self.results: dict[str, SelfTest] = {}

    def want(self, routes: Iterable[Route]) -> None:
        """Tests the revisions that may be tested; results are kept while a revision is routed."""
        routed = {route.cluster(arm): arm for route in routes for arm in route.arms}
        targets = [Target(key, arm.endpoints) for key, arm in routed.items() if arm.self_test]
        states: dict[str, _State] = {}
        for target in targets:
            state = self._states.get(target.key) or _State(target, self._now())
            result = self.results.get(target.key)
            if target.endpoints != state.target.endpoints and not (result and result.passed):
                state = _State(target, self._now())
            states[target.key] = state
        self._states = states
        self.results = {key: result for key, result in self.results.items() if key in routed}

    def again(self, key: str) -> None:
        """Tests a revision anew; its old result is gone."""
        self.results.pop(key, None)
        if key in self._states:
            self._states[key] = _State(self._states[key].target, self._now())

    async def run_due(
        self, session: aiohttp.ClientSession, tls: ssl.SSLContext, routers: Iterable[str]
    ) -> None:
        """Tests what has no verdict yet, through each of these routers."""
        addresses = list(routers)
        due = [state for state in self._states.values() if not state.judged and state.target.endpoints]
        for state in due if addresses else ():
            result = await self._test(session, tls, addresses, state)
            if result is not None and self._states.get(state.target.key) is state:
                self.results[state.target.key] = result
                self._on_result()

    async def _test(
        self, session: aiohttp.ClientSession, tls: ssl.SSLContext, addresses: list[str], state: _State
    ) -> SelfTest | None:
        target, index = state.target, 0
        try:
            for address in addresses:
                ask = _Asker(session, tls, f"https://{in_url(address)}:{self._port}", target)
                index, said = await ask.example()
                if said is not None:
                    state.judged = True
                    return SelfTest(False, f"{target.revision} {said}; it gets no traffic.", self._now())
        except _Unanswered as reason:
            now = self._now()
            logger.debug("Self-test of %s: %s", target.key, reason)
            if (now - state.since).total_seconds() < PATIENCE_S:
                return None
            return SelfTest(False, f"{target.revision} {reason}; it gets no traffic.", now)
        state.judged = True
        return SelfTest(True, f"{target.revision} gives the recorded answer to example {index}.", self._now())


class _Asker:
    def __init__(
        self, session: aiohttp.ClientSession, tls: ssl.SSLContext, base: str, target: Target
    ) -> None:
        self._session = session
        self._tls = tls
        self._base = base
        self._target = target

    async def example(self) -> tuple[int, str | None]:
        """(index of the example, how the answer differs: the middle of a sentence, None if it doesn't)."""
        _, body = await self._ask("GET", EXAMPLE_PATH, self._target.key + PROBE, "gives no example")
        try:
            example = IndexedExample.model_validate_json(body)
        except ValidationError as error:
            raise _Unanswered(f"gives an example that can't be read: {str(error)[:200]}") from error
        failing = f"doesn't answer example {example.index}"
        headers, request = infer_request(example)
        path = f"/v2/models/{self._target.model}/infer"
        told, answer = await self._ask("POST", path, self._target.key, failing, headers, request)
        try:
            said = difference(example, infer_answer(told, answer), TOLERANCE)
        except ValueError as error:
            return example.index, f"{failing}: {error}"
        return example.index, said and _with_index(said, example.index)

    async def _ask(
        self,
        method: str,
        path: str,
        cluster: str,
        failing: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[Mapping[str, str], bytes]:
        try:
            async with self._session.request(
                method,
                self._base + path,
                data=body,
                headers={CLUSTER_HEADER: cluster, **(headers or {})},
                ssl=self._tls,
                server_hostname=ROUTER_NAME,
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _Unanswered(f"{failing}: {str(error) or type(error).__name__}") from error
        if response.status != 200:
            text = answer[:200].decode(errors="replace").strip()
            raise _Unanswered(f"{failing}: status {response.status} {text}".rstrip())
        return response.headers, answer


def in_url(address: str) -> str:
    """An IP as a URL has it."""
    return f"[{address}]" if ":" in address else address


def _with_index(said: str, index: int) -> str:
    """`answers with class Bag, …` or `gives logits 0.2, …` -> the same with the example named."""
    verb, _, rest = said.partition(" ")
    return f"{verb} example {index} {rest}" if verb == "answers" else f"{said} for example {index}"
