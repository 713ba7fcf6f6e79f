"""Clients that send a constant rate of requests to a ModelDeployment and count what comes back.

The rate is open-loop: a slow answer doesn't slow the next request down, as with independent users. Requests go
over REST and, a share of them, over gRPC, to the router's address with the deployment's host name.
"""

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import grpc
import numpy as np
import tritonclient.grpc as triton_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

TIMEOUT_SECONDS = 10.0


@dataclass
class Seen:
    """What the clients saw so far."""

    sent: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    """By revision, good answers only."""
    failed: Counter[str] = field(default_factory=Counter)
    """By what went wrong."""
    failed_at: list[float] = field(default_factory=list)
    """Seconds since the start."""
    milliseconds: list[float] = field(default_factory=list)

    @property
    def failures(self) -> int:
        return sum(self.failed.values())


class Traffic:
    """`with Traffic(...) as seen:` sends in a thread of its own until the block ends."""

    def __init__(
        self, router: str, host: str, model: str, image: np.ndarray, *, rate: float, grpc_share: float = 0.2
    ) -> None:
        """router: address of the router Service; image: one input [1, ...] of the model's first tensor `image`."""
        self.router, self.host, self.model = router, host, model
        self.image, self.rate, self.grpc_share = image, rate, grpc_share
        self.seen = Seen()
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic")

    def __enter__(self) -> Seen:
        self._thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        url = f"http://{self.router}/v2/models/{self.model}/infer"
        body: dict[str, object] = {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "UINT8",
                    "shape": list(self.image.shape),
                    "data": self.image.ravel().tolist(),
                }
            ]
        }
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        options = [("grpc.default_authority", self.host)]
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            grpc.aio.insecure_channel(f"{self.router}:8001", options=options) as channel,
        ):
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            request = self._grpc_request()
            pending: set[asyncio.Task[None]] = set()
            due = time.monotonic()
            while not self._stop.is_set():
                self.seen.sent += 1
                # Every n-th request is gRPC: exact shares, no chance.
                over_grpc = int(self.seen.sent * self.grpc_share) > int(
                    (self.seen.sent - 1) * self.grpc_share
                )
                call = self._grpc(stub, request) if over_grpc else self._rest(session, url, body)
                task = asyncio.create_task(call)
                pending.add(task)
                task.add_done_callback(pending.discard)
                due += 1 / self.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            if pending:
                await asyncio.wait(pending)

    def _grpc_request(self) -> service_pb2.ModelInferRequest:
        tensor = triton_grpc.InferInput("image", list(self.image.shape), "UINT8")
        tensor.set_data_from_numpy(self.image)
        request = service_pb2.ModelInferRequest(model_name=self.model)
        request.inputs.append(tensor._get_tensor())
        request.raw_input_contents.append(tensor._get_content())
        return request

    async def _rest(self, session: aiohttp.ClientSession, url: str, body: dict[str, object]) -> None:
        began = time.monotonic()
        try:
            async with session.post(url, json=body, headers={"Host": self.host}) as response:
                text = await response.text()
                if response.status == 200:
                    self._answered(response.headers.get("x-slipway-revision", "?"), began)
                else:
                    self._failed(f"HTTP {response.status}: {text[:80]}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self._failed(f"HTTP {type(error).__name__}")

    async def _grpc(
        self, stub: service_pb2_grpc.GRPCInferenceServiceStub, request: service_pb2.ModelInferRequest
    ) -> None:
        began = time.monotonic()
        try:
            call = stub.ModelInfer(request, timeout=TIMEOUT_SECONDS)
            await call
            headers = dict(await call.initial_metadata())
            self._answered(str(headers.get("x-slipway-revision", "?")), began)
        except grpc.aio.AioRpcError as error:
            self._failed(f"gRPC {error.code().name}: {(error.details() or '')[:80]}")

    def _failed(self, what: str) -> None:
        self.seen.failed[what] += 1
        self.seen.failed_at.append(time.monotonic() - self._began)

    def _answered(self, revision: str, began: float) -> None:
        self.seen.answered[revision] += 1
        self.seen.milliseconds.append(1000 * (time.monotonic() - began))
