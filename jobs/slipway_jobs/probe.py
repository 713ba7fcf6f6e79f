"""Task probe: a sidecar that asks Triton the version's examples and tells kubelet whether the answers are right.

    GET /ready    200 once every example was answered rightly, 503 before and after a wrong answer
    GET /live     503 after errors or wrong answers in a row, never because an answer is slow or not there yet
    GET /example  one example with its recorded answer: what the operator replays through the router

Triton's own readiness stays 200 when a backend process died and every inference fails; the answers don't lie.
"""

import itertools
import signal
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
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
"""Seconds between examples once ready; before that they follow each other."""
TIMEOUT = 30.0
"""An answer that takes longer is slow, which isn't wrong."""
FAULTS = 3
"""Wrong answers or errors in a row that end a server that has been ready."""


@dataclass(frozen=True)
class State:
    ready: bool = False
    live: bool = True
    message: str = "No example was answered yet."


class Prober:
    """Replays the examples in turn; `state` is what the HTTP side shows."""

    def __init__(self, task: ProbeTask, examples: list[Example]) -> None:
        self.task = task
        self.examples = examples
        self.state = State()
        self._answered = 0
        self._faults = 0
        self._url = f"{task.triton_url.rstrip('/')}/v2/models/{task.model_name}/infer"

    def step(self, number: int) -> None:
        """Asks one example and moves the state on."""
        said = self._ask(self.examples[number], number + 1)
        if said is None:
            self._faults = 0
            self._answered += 1
            done = self._answered >= len(self.examples)
            self.state = State(
                done, True, f"{min(self._answered, len(self.examples))} of {len(self.examples)} right."
            )
            return
        message, fault = said
        if not fault:  # starting or slow: what was known of it still holds
            self.state = State(self.state.ready, self.state.live, message)
            return
        self._faults += 1
        was_ready = self._answered >= len(self.examples)
        if not was_ready:
            self._answered = 0  # all must be right in one go
        # Before it was ever ready, kubelet's startup and the rollout's deadline decide, not a restart.
        self.state = State(False, not (was_ready and self._faults >= FAULTS), message)
        print(f"probe: {message}", flush=True)

    def _ask(self, example: Example, number: int) -> tuple[str, bool] | None:
        """None: right. Else what happened, and whether it is a fault rather than slowness."""
        headers, body = infer_request(example)
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                answer = infer_answer(dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            # 4xx while a model is being loaded is Triton saying "not yet"; once ready it is a fault.
            return f"example {number}: HTTP {error.code}: {error.read(300).decode(errors='replace')}", True
        except TimeoutError:
            return f"example {number}: no answer in {TIMEOUT:g}s.", False
        except OSError as error:
            slow = isinstance(getattr(error, "reason", None), TimeoutError)
            # A server that was ready and takes no connection is gone; before that it is starting.
            return f"example {number}: {error}", not slow and self._answered >= len(self.examples)
        except ValueError as error:
            return f"example {number}: {error}", True
        said = difference(example, answer, self.task.tolerance)
        return (f"example {number}: {said}", True) if said else None


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
        prober.step(number)
        # While it starts, often: a revision is ready as soon as its model is. Ready, rarely: it costs a core.
        if ended.wait(
            INTERVAL
            if prober.state.ready
            else 0.05
            if prober.state.live and "right" in prober.state.message
            else 0.5
        ):
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
