import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slipway.contract import progress_wire
from slipway.contract.config import Owner, ProgressTarget
from slipway.contract.report import Progress
from slipway_jobs.progress import Reporter

OWNER = Owner(kind="TrainingRun", namespace="demo", name="v1", uid="u")


@pytest.fixture
def operator() -> Iterator[Any]:
    """Keeps what was posted."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.posts.append((self.path, self.headers["Authorization"], body))  # type: ignore[attr-defined]
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.posts = []  # type: ignore[attr-defined]  # the handler's only way to tell
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def reporter(port: int, token: Path, interval: float) -> Reporter:
    target = ProgressTarget(url=f"http://127.0.0.1:{port}", ca="")
    return Reporter(target, OWNER, interval=interval, token_path=str(token))


def test_the_newest_state_is_sent_and_no_more_often_than_asked(operator: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    told = reporter(operator.server_port, tmp_path / "token", interval=30)
    for step in range(50):
        told.update(Progress(step=step, percent=step))
        time.sleep(0.002)
    told.close()
    assert 1 <= len(operator.posts) <= 2
    path, token, body = operator.posts[-1]
    assert progress_wire.parse_path(path) == ("demo", "v1")
    assert token == "Bearer secret"
    assert progress_wire.decode(body, datetime(2026, 11, 24, tzinfo=UTC)).step == 49
    assert json.loads(body)["trainerStatus"]["progressPercentage"] == 49


def test_an_operator_that_is_down_stops_nothing_and_is_told_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("secret")
    told = reporter(9, tmp_path / "token", interval=0.01)
    for step in range(5):
        told.update(Progress(step=step))
        time.sleep(0.05)
    told.close()
    assert capfd.readouterr().err.count("not sent, training goes on") == 1


def test_without_a_target_nothing_is_started() -> None:
    told = Reporter(None, OWNER)
    told.update(Progress(step=1))
    told.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
