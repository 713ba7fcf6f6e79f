"""Task probe: a sidecar that asks Triton the version's examples and tells kubelet whether the answers are right.

    GET /ready    200 once every example was answered rightly, 503 before and after a wrong answer
    GET /live     503 after wrong answers or errors in a row, never because an answer is slow or not there yet
    GET /example  one example with its recorded answer: what the operator replays through the router

Triton's own readiness stays 200 when a backend process died and every inference fails; the answers don't lie.
"""

import itertools
import signal
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from slipway.contract.config import JobConfig, ProbeTask
from slipway.contract.examples import (
    FILE,
    Example,
    ExampleSet,
    IndexedExample,
    difference,
    infer_answer,
    infer_request,
)
from slipway.contract.report import ToolReport
from slipway_jobs.store import Store

INTERVAL = 2.0
"""Seconds between examples once ready."""
RETRY = 0.5
"""Seconds until the next example after one that wasn't answered rightly."""
TIMEOUT = 30.0
"""An answer that takes longer is slow, which isn't wrong."""
FAULTS = 3
"""Faults in a row that end a server that has been ready."""


class Seen(Enum):
    RIGHT = "the recorded answer"
    SLOW = "no answer yet, or too busy for one: what was known still holds"
    GONE = "nobody listens: starting, or ended, which kubelet sees by itself"
    FAULT = "an error or another answer"


@dataclass(frozen=True)
class State:
    ready: bool = False
    live: bool = True
    message: str = "No example was answered yet."


class Prober:
    """Replays the examples in turn; `state` is what the HTTP side shows."""

    def __init__(self, task: ProbeTask, examples: list[Example], timeout: float = TIMEOUT) -> None:
        self.task = task
        self.examples = examples
        self.state = State()
        self._timeout = timeout
        self._right = 0
        """Right answers since the last start or, before it was ready, since the last fault."""
        self._faults = 0
        self._url = f"{task.triton_url.rstrip('/')}/v2/models/{task.model_name}/infer"

    def step(self, number: int) -> Seen:
        """Asks one example and moves the state on."""
        seen, message = self._ask(self.examples[number])
        message = f"Example {number + 1} of {len(self.examples)}: {message}"
        wanted = len(self.examples)
        if seen is Seen.RIGHT:
            self._faults = 0
            self._right += 1
            self.state = State(self._right >= wanted, True, message)
        elif seen is Seen.SLOW:
            self.state = State(self.state.ready, self.state.live, message)
        elif seen is Seen.GONE:
            self._faults = self._right = 0
            self.state = State(False, True, message)
        else:
            # Before it was ever ready, the rollout's deadline decides, not a restart.
            self._faults = self._faults + 1 if self._right >= wanted else 0
            self._right = self._right if self._right >= wanted else 0
            self.state = State(False, self._faults < FAULTS, message)
        if seen is not Seen.RIGHT:
            print(f"probe: {message}", flush=True)
        return seen

    def _ask(self, example: Example) -> tuple[Seen, str]:
        headers, body = infer_request(example)
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                answer = infer_answer(dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                said = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
            # 429 and 503 say that the queue is full.
            return (Seen.SLOW if error.code in (429, 503) else Seen.FAULT), said
        except OSError as error:  # URLError and TimeoutError are OSErrors
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                return Seen.SLOW, f"no answer in {self._timeout:g}s"
            return Seen.GONE, f"can't ask Triton: {reason}"
        except ValueError as error:
            return Seen.FAULT, str(error)
        other = difference(example, answer, self.task.tolerance)
        return (Seen.FAULT, other) if other else (Seen.RIGHT, "right")


def run(config: JobConfig, task: ProbeTask, store: Store) -> ToolReport:
    kept = Path(task.repository, task.model_name, FILE)
    examples = ExampleSet.model_validate_json(kept.read_bytes()).examples
    prober = Prober(task, examples)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    server = ThreadingHTTPServer(("", task.port), handler(prober))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    for number in itertools.cycle(range(len(examples))):
        seen = prober.step(number)
        # While it starts, one after the other: a revision is to be ready as soon as its model is.
        if ended.wait(RETRY if seen is not Seen.RIGHT else INTERVAL if prober.state.ready else 0.0):
            break
    server.shutdown()
    server.server_close()
    return ToolReport(task="fetch", outcome="Succeeded", attempt=config.attempt)


def handler(prober: Prober) -> type[BaseHTTPRequestHandler]:
    """The HTTP side: three answers, none of which waits for Triton."""
    turn = itertools.count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_GET(self) -> None:  # the name that http.server calls
            state = prober.state
            if self.path == "/ready":
                self._answer(200 if state.ready else 503, state.message.encode(), "text/plain")
            elif self.path == "/live":
                self._answer(200 if state.live else 503, state.message.encode(), "text/plain")
            elif self.path in ("/example", "/_slipway/example"):
                index = next(turn) % len(prober.examples)
                told = IndexedExample(index=index + 1, **dict(prober.examples[index]))
                self._answer(200, told.to_json().encode(), "application/json")
            else:
                self._answer(404, b"there is /ready, /live and /example", "text/plain")

        def _answer(self, code: int, body: bytes, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Kubelet asks every second; that is no news."""

    return Handler
