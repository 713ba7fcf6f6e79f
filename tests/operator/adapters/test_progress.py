"""The progress port, with the real client of the jobs and real signed tokens."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from envoys import Secrets, until, wall
from slipway.adapters import certificates
from slipway.adapters.certificates import Certificates
from slipway.adapters.progress import Issuer, ProgressServer, Sender, sender
from slipway.cache import Objects
from slipway.contract import progress_wire
from slipway.contract.config import PROGRESS_AUDIENCE, Owner, ProgressTarget
from slipway.contract.report import Progress
from slipway.decision import Key
from slipway_jobs.progress import Reporter

ISSUER = "https://kubernetes.default.svc.cluster.local"
RECEIVED = datetime(2026, 11, 24, 10, 0, 5, tzinfo=UTC)
KEY = Key("TrainingRun", "demo", "fashion")
PATH = progress_wire.path("demo", "fashion")
KEYS = {kid: rsa.generate_private_key(public_exponent=65537, key_size=2048) for kid in ("first", "second")}


def jwks(*kids: str) -> dict[str, Any]:
    keys = [json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEYS[kid].public_key())) for kid in kids]
    return {"keys": [{**key, "kid": kid, "use": "sig"} for key, kid in zip(keys, kids, strict=True)]}


def token(kid: str = "first", signed_by: str | None = None, **claims: Any) -> str:
    bound = {"namespace": "demo", "pod": {"name": "fashion-2-0", "uid": "pod-2"}}
    told = {
        "iss": ISSUER,
        "aud": [PROGRESS_AUDIENCE],
        "sub": "system:serviceaccount:demo:default",
        "exp": int((wall() + timedelta(hours=1)).timestamp()),
        "kubernetes.io": bound,
        **claims,
    }
    return jwt.encode(told, KEYS[signed_by or kid], algorithm="RS256", headers={"kid": kid})


def of_pod(name: str, uid: str, namespace: str = "demo") -> dict[str, Any]:
    return {"kubernetes.io": {"namespace": namespace, "pod": {"name": name, "uid": uid}}}


def child(kind: str, name: str, uid: str, attempt: int, **metadata: Any) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/managed-by": "slipway",
        "slipway.dev/kind": "TrainingRun",
        "slipway.dev/name": "fashion",
        "slipway.dev/attempt": str(attempt),
    }
    told = {"namespace": "demo", "name": name, "uid": uid, "resourceVersion": "1", "labels": labels}
    version = "batch/v1" if kind == "Job" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": {**told, **metadata}}


def job(attempt: int) -> dict[str, Any]:
    owner = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingRun", "name": "fashion", "uid": "run-1"}
    name = f"fashion-{attempt}"
    return child("Job", name, f"job-{attempt}", attempt, ownerReferences=[{**owner, "controller": True}])


OBJECTS = Objects(
    [
        {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "TrainingRun",
            "metadata": {"namespace": "demo", "name": "fashion", "uid": "run-1", "resourceVersion": "1"},
        },
        job(1),
        job(2),
        child("Pod", "fashion-1-0", "pod-1", 1),
        child("Pod", "fashion-2-0", "pod-2", 2),
    ]
)


class Port:
    """A running progress server."""

    def __init__(self, kids: list[str]) -> None:
        self.kids = kids
        self.fetched = 0
        self.woken: list[Key] = []
        self.server = ProgressServer(self.fetch, self.sender, lambda: RECEIVED, self.woken.append)

    async def fetch(self) -> Issuer:
        self.fetched += 1
        if not self.kids:
            raise ConnectionRefusedError("API server is away")
        return Issuer(ISSUER, jwks(*self.kids))

    def sender(self, *claim: str) -> Sender:
        return sender(OBJECTS, *claim)

    async def start(self) -> None:
        secrets = Secrets()
        self.certificates: Certificates = await certificates.keep(
            secrets.load, secrets.save, ["localhost"], wall()
        )
        number = await self.server.start(self.certificates.server, "127.0.0.1", 0)
        self.url = f"https://localhost:{number}"

    async def post(self, path: str, bearer: str | None, body: bytes) -> tuple[int, str]:
        tls = ssl.create_default_context(cadata=self.certificates.authorities.decode())
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, data=body, headers=headers, ssl=tls) as response,
        ):
            return response.status, (await response.json()).get("error", "")


def with_port(use: Callable[[Port], Awaitable[None]], *kids: str) -> None:
    async def run() -> None:
        port = Port(list(kids or ("first",)))
        await port.start()
        try:
            await use(port)
        finally:
            await port.server.stop()

    asyncio.run(run())


GOOD = progress_wire.encode(Progress(percent=61, step=258, metrics={"train_loss": 0.34}, attempt=9))


def test_the_clients_push_arrives_and_wakes_the_object(tmp_path: Path) -> None:
    async def use(port: Port) -> None:
        (tmp_path / "token").write_text(token())
        target = ProgressTarget(url=port.url, ca=port.certificates.authorities.decode())
        owner = Owner(kind="TrainingRun", namespace="demo", name="fashion", uid="run-1")
        reporter = Reporter(target, owner, interval=0.05, token_path=str(tmp_path / "token"))
        reporter.update(
            Progress(percent=61, step=258, total_steps=422, metrics={"train_loss": 0.34}, attempt=2)
        )
        await until(lambda: port.woken)
        await asyncio.to_thread(reporter.close)
        assert port.server.latest["run-1"] == Progress(
            percent=61,
            step=258,
            total_steps=422,
            metrics={"train_loss": 0.34},
            attempt=2,
            time="2026-11-24T10:00:05Z",
        )
        assert port.woken[0] == KEY
        port.server.forget("run-1")
        assert port.server.latest == {}

    with_port(use)


def test_a_client_of_kubeflows_is_understood() -> None:
    async def use(port: Port) -> None:
        metrics = [{"name": "loss", "value": "0.5"}]
        body = {"trainerStatus": {"progressPercentage": 5, "metrics": metrics}}
        assert await port.post(PATH, token(), json.dumps(body).encode()) == (200, "")
        latest = port.server.latest["run-1"]
        assert (latest.percent, latest.metrics, latest.attempt) == (5, {"loss": 0.5}, 2)

    with_port(use)


@pytest.mark.parametrize(
    ("path", "bearer", "body", "status", "said"),
    [
        ("/status", token(), GOOD, 404, "progress is posted to /apis/trainer.kubeflow.org/v1alpha1"),
        (PATH, None, GOOD, 401, "no bearer token"),
        (PATH, "nonsense", GOOD, 401, "the token isn't good"),
        (PATH, token(signed_by="second"), GOOD, 401, "the token isn't good: Signature verification failed"),
        (PATH, token("third", "first"), GOOD, 401, "signed by no key of this cluster"),
        (PATH, token(aud=["api"]), GOOD, 401, "the token isn't good: Audience"),
        (PATH, token(iss="https://elsewhere"), GOOD, 401, "the token isn't good: Invalid issuer"),
        (PATH, token(exp=1), GOOD, 401, "the token isn't good: Signature has expired"),
        (PATH, token(**{"kubernetes.io": {"namespace": "demo"}}), GOOD, 401, "bound to no pod"),
        (
            PATH,
            token(**of_pod("fashion-2-0", "pod-2", "other")),
            GOOD,
            403,
            "the token is of namespace other",
        ),
        (PATH, token(**of_pod("fashion-2-0", "pod-9")), GOOD, 403, "no job pod of Slipway"),
        (PATH, token(**of_pod("fashion-1-0", "pod-1")), GOOD, 403, "attempt 2 is the current one"),
        (progress_wire.path("demo", "other"), token(), GOOD, 403, "pod fashion-2-0 doesn't work for other"),
        (PATH, token(), b"{}", 400, "progress can't be read"),
        (PATH, token(), GOOD + b" " * 70_000, 413, "progress is over 65536 bytes"),
    ],
)
def test_what_is_refused_is_told_why(
    path: str, bearer: str | None, body: bytes, status: int, said: str
) -> None:
    async def use(port: Port) -> None:
        code, message = await port.post(path, bearer, body)
        assert (code, said in message) == (status, True), message
        assert port.server.latest == {}
        assert port.woken == []

    with_port(use)


def test_a_token_that_chooses_its_own_algorithm_is_refused() -> None:
    async def use(port: Port) -> None:
        told = jwt.decode(token(), options={"verify_signature": False})
        unsigned = jwt.encode(told, None, algorithm="none", headers={"kid": "first"})
        assert (await port.post(PATH, unsigned, GOOD))[0] == 401

    with_port(use)


def test_keys_are_fetched_once_and_again_for_an_unknown_one_but_not_on_every_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def use(port: Port) -> None:
        for _ in range(3):
            assert (await port.post(PATH, token(), GOOD))[0] == 200
        assert port.fetched == 1
        port.kids.append("second")
        assert (await port.post(PATH, token("second"), GOOD))[0] == 401, "within the pause"
        assert port.fetched == 1
        monkeypatch.setattr("slipway.adapters.progress.REFRESH_S", 0.0)
        assert (await port.post(PATH, token("second"), GOOD))[0] == 200
        assert port.fetched == 2

    with_port(use)


def test_while_the_api_server_is_away_the_sender_is_told_to_come_again() -> None:
    async def use(port: Port) -> None:
        port.kids.clear()
        assert (await port.post(PATH, token(), GOOD))[0] == 503

    with_port(use)
