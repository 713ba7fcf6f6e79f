"""The probe against a server that speaks the protocol and can be told to go wrong."""

import json
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from slipway.contract.config import ProbeTask
from slipway.contract.examples import Example, IndexedExample, TensorData
from slipway_jobs import probe
from slipway_jobs.probe import Prober, Seen


class Triton:
    """Doubles its input; `fault` makes it fail."""

    def __init__(self) -> None:
        triton = self
        self.fault: str | None = None

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v2/models/fashion/infer"
                if triton.fault == "slow":
                    time.sleep(0.5)
                if triton.fault in ("500", "503"):
                    self.send_error(int(triton.fault))
                    return
                start = int(self.headers["Inference-Header-Content-Length"])
                told = json.loads(body[:start])["inputs"][0]
                values = struct.unpack("<2f", body[start:])
                factor = 3 if triton.fault == "wrong" else 2
                raw = struct.pack("<2f", *(factor * value for value in values))
                head = json.dumps(
                    {
                        "model_name": "fashion",
                        "outputs": [
                            {
                                "name": "y",
                                "datatype": "FP32",
                                "shape": told["shape"],
                                "parameters": {"binary_data_size": len(raw)},
                            }
                        ],
                    }
                ).encode()
                self.send_response(200)
                self.send_header("Inference-Header-Content-Length", str(len(head)))
                self.send_header("Content-Length", str(len(head) + len(raw)))
                self.end_headers()
                self.wfile.write(head + raw)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def triton() -> Iterator[Triton]:
    server = Triton()
    yield server
    server.close()


def examples() -> list[Example]:
    return [
        Example(
            inputs=[TensorData.of("x", "FP32", [1, 2], struct.pack("<2f", n, 1))],
            outputs=[TensorData.of("y", "FP32", [1, 2], struct.pack("<2f", 2 * n, 2))],
        )
        for n in (1.0, 2.0, 3.0)
    ]


def prober(url: str, timeout: float = 5.0) -> Prober:
    return Prober(ProbeTask(model_name="fashion", triton_url=url), examples(), timeout)


def steps(asked: Prober, count: int) -> list[Seen]:
    return [asked.step(number % 3) for number in range(count)]


def test_ready_only_after_every_example_was_right(triton: Triton) -> None:
    asked = prober(triton.url)
    for number, ready in ((0, False), (1, False), (2, True)):
        asked.step(number)
        assert asked.state.ready is ready


def test_a_wrong_answer_ends_readiness_and_three_end_the_server(triton: Triton) -> None:
    asked = prober(triton.url)
    steps(asked, 3)
    triton.fault = "wrong"
    assert steps(asked, 1) == [Seen.FAULT]
    assert (asked.state.ready, asked.state.live) == (False, True)
    assert asked.state.message == "Example 1 of 3: gives y 3, recorded 2 (tolerance 0.001)"
    steps(asked, 2)
    assert not asked.state.live
    triton.fault = None
    steps(asked, 1)
    assert (asked.state.ready, asked.state.live) == (True, True)


def test_a_dead_backend_behind_a_living_server_is_a_fault(triton: Triton) -> None:
    asked = prober(triton.url)
    steps(asked, 3)
    triton.fault = "500"
    assert steps(asked, 3) == [Seen.FAULT] * 3
    assert not asked.state.live


@pytest.mark.parametrize("fault", ["slow", "503"])
def test_slow_is_not_wrong(triton: Triton, fault: str) -> None:
    asked = prober(triton.url, timeout=0.1 if fault == "slow" else 5.0)
    asked._timeout, kept = 5.0, asked._timeout
    steps(asked, 3)
    asked._timeout = kept
    triton.fault = fault
    assert steps(asked, 6) == [Seen.SLOW] * 6
    assert (asked.state.ready, asked.state.live) == (True, True)


def test_a_model_that_never_answered_rightly_is_not_ready_and_not_ended(triton: Triton) -> None:
    asked = prober(triton.url)
    triton.fault = "wrong"
    steps(asked, 9)
    assert (asked.state.ready, asked.state.live) == (False, True)


def test_a_server_that_starts_again_is_not_ended_for_it() -> None:
    server = Triton()
    asked = prober(server.url)
    steps(asked, 3)
    server.close()
    assert steps(asked, 9) == [Seen.GONE] * 9
    assert (asked.state.ready, asked.state.live) == (False, True)


def get(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_kubelet_and_operator_are_answered(triton: Triton) -> None:
    asked = prober(triton.url)
    server = ThreadingHTTPServer(("127.0.0.1", 0), probe.handler(asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        port = server.server_port
        assert get(port, "/ready") == (503, b"No example was answered yet.")
        assert get(port, "/live")[0] == 200
        steps(asked, 3)
        assert get(port, "/ready") == (200, b"Example 3 of 3: right")
        told = [IndexedExample.model_validate_json(get(port, "/example")[1]) for _ in range(3)]
        assert [example.index for example in told] == [1, 2, 3]
        assert [example.inputs for example in told] == [example.inputs for example in examples()]
        assert get(port, "/secret")[0] == 404
    finally:
        server.shutdown()
        server.server_close()
