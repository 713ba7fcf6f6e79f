"""The Triton image serves standard ONNX repositories: ONNX Runtime's answers to the bit, and plain reasons.

Needs the image of `images/build triton-cpu` on this machine, and root; skipped, with the reason, where that isn't so.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # ships no types
import pytest
import tritonclient.grpc  # type: ignore[import-untyped]  # ships no types
import tritonclient.http  # type: ignore[import-untyped]  # ships no types
from onnx import TensorProto, helper, numpy_helper

from slipway.contract.base import Signature, Tensor
from slipway.kinds.model_deployment import triton

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import builder  # images/ is no package: its program runs from a checkout alone

TYPES = {
    "BOOL": (TensorProto.BOOL, np.array([[True, False]])),
    "UINT8": (TensorProto.UINT8, np.array([[0, 255]], np.uint8)),
    "INT8": (TensorProto.INT8, np.array([[-128, 127]], np.int8)),
    "UINT16": (TensorProto.UINT16, np.array([[0, 65535]], np.uint16)),
    "INT32": (TensorProto.INT32, np.array([[-(2**31), 2**31 - 1]], np.int32)),
    "INT64": (TensorProto.INT64, np.array([[-(2**63), 2**63 - 1]], np.int64)),
    "FP16": (TensorProto.FLOAT16, np.array([[1 / 3, -65504]], np.float16)),
    "FP32": (TensorProto.FLOAT, np.array([[1 / 3, np.inf]], np.float32)),
    "FP64": (TensorProto.DOUBLE, np.array([[1 / 3, 1e300]], np.float64)),
    "BYTES": (TensorProto.STRING, np.array([["", "Grüße, 你好"]], object)),
}
DIGITS = """
input [{name: "image", data_type: TYPE_UINT8, dims: [28, 28]}]
output [{name: "logits", data_type: TYPE_FP32, dims: [10]}]
"""
REFUSED = {
    "wrong-type": (
        DIGITS.replace("UINT8", "FP32"),
        "input 'image' is TYPE_FP32 in config.pbtxt, TYPE_UINT8 in the ONNX file",
    ),
    "wrong-shape": (
        DIGITS.replace("[10]", "[7]"),
        "output 'logits' is [-1, 7] in config.pbtxt with the batch dimension that max_batch_size adds, "
        "[-1, 10] in the ONNX file",
    ),
    "wrong-name": (
        DIGITS.replace("image", "picture"),
        "input 'picture' isn't in the ONNX file; it has image",
    ),
    "wrong-level": (
        DIGITS + "optimization {graph {level: 7}}",
        "optimization.graph.level is 7; it can be -1, 0, 1, 2",
    ),
    "wrong-threads": (
        DIGITS + 'parameters {key: "intra_op_thread_count" value: {string_value: "many"}}',
        "parameters.intra_op_thread_count is 'many'; it can be 0 to 1024",
    ),
    "unknown-parameter": (
        DIGITS + 'parameters {key: "threads" value: {string_value: "2"}}',
        "parameters.threads isn't known to the CPU backend",
    ),
}


class Server:
    def __init__(self, http: int, grpc: int, log: Path) -> None:
        self.http = http
        self.grpc = grpc
        self.log = log

    def post(self, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/v2/{path}", data=b"{}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def states(self) -> dict[str, dict[str, str]]:
        return {model["name"]: model for model in self.post("repository/index")}

    def infer(self, protocol: str, model: str, inputs: dict[str, np.ndarray], output: str) -> np.ndarray:
        client = tritonclient.http if protocol == "http" else tritonclient.grpc
        tensors = []
        for name, array in inputs.items():
            kind = "BYTES" if array.dtype == object else tritonclient.utils.np_to_triton_dtype(array.dtype)
            tensor = client.InferInput(name, array.shape, kind)
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        url = f"127.0.0.1:{self.http if protocol == 'http' else self.grpc}"
        with client.InferenceServerClient(url) as connection:
            answer = connection.infer(model, tensors, outputs=[client.InferRequestedOutput(output)])
            return np.asarray(answer.as_numpy(output))


def write_model(repository: Path, name: str, graph: onnx.GraphProto, config: str) -> None:
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(f'name: "{name}"\nbackend: "onnxruntime"\n{config}')
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, folder / "1" / "model.onnx")


def digits() -> onnx.GraphProto:
    # Whole numbers, whose sums are exact in any order: batches may be cut as the server likes, the answer is one.
    weights = np.random.default_rng(0).integers(-9, 10, (784, 10)).astype(np.float32)
    return helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(weights, "weights")],
    )


def echo() -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_OUT"]) for name in TYPES],
        "echo",
        [helper.make_tensor_value_info(name, kind, ["n", "m"]) for name, (kind, _) in TYPES.items()],
        [helper.make_tensor_value_info(f"{name}_OUT", kind, ["n", "m"]) for name, (kind, _) in TYPES.items()],
    )


def double() -> onnx.GraphProto:
    """One number per example, which Triton can't state without a reshape."""
    return helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )


def lookup() -> onnx.GraphProto:
    """Fails for an index beyond the table."""
    return helper.make_graph(
        [helper.make_node("Gather", ["table", "index"], ["row"])],
        "lookup",
        [helper.make_tensor_value_info("index", TensorProto.INT64, ["n", 1])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.arange(10, dtype=np.float32), "table")],
    )


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    if os.geteuid() != 0 or not shutil.which("buildah"):
        pytest.skip("runs the image by buildah, as root")
    image = builder.reference("triton-cpu", builder.reference("base", ""))
    made = subprocess.run(
        builder.buildah("from", "--pull-never", image), capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"{image} isn't built; run images/build triton-cpu")
    name = made.stdout.strip()
    yield name
    subprocess.run(builder.buildah("rm", name), capture_output=True, check=True)


def run(container: str, repository: Path, *options: str) -> Iterator[Server]:
    http, grpc, metrics = free_ports(3)
    arguments = [
        "--model-repository=/models",
        "--exit-on-error=false",
        "--strict-readiness=false",
        *(f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc", "metrics")),
        *(f"--http-port={http} --grpc-port={grpc} --metrics-port={metrics}".split()),
        *options,
    ]
    for path in (repository, *repository.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    log = repository.parent / "triton.log"
    command = builder.buildah(
        "run", "--isolation", "chroot", "--volume", f"{repository}:/models:ro", container, "--"
    )
    # No process namespace here, so the shell's id, handed on to the server by exec, is good outside as well.
    shell = ["sh", "-c", 'echo $$; exec tritonserver "$@"', "sh", *arguments]
    with open(log, "w") as output:
        process = subprocess.Popen([*command, *shell], stdout=subprocess.PIPE, stderr=output, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    server = Server(http, grpc, log)
    try:
        deadline = time.monotonic() + 60
        while not is_ready(server):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)
        yield server
    finally:
        os.kill(pid, signal.SIGTERM)
        process.communicate(timeout=60)


def is_ready(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/v2/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.fixture(scope="module")
def configured(container: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Started as a ModelDeployment starts it: what config.pbtxt says, nothing guessed."""
    repository = tmp_path_factory.mktemp("configured") / "models"
    batches = "max_batch_size: 16\ndynamic_batching { }\ninstance_group [{count: 2, kind: KIND_CPU}]\n"
    write_model(repository, "digits", digits(), batches + DIGITS)
    for name, (config, _) in REFUSED.items():
        write_model(repository, name, digits(), "max_batch_size: 16\n" + config)
    types = {name: "STRING" if name == "BYTES" else name for name in TYPES}
    inputs = ", ".join(f'{{name: "{n}", data_type: TYPE_{t}, dims: [-1]}}' for n, t in types.items())
    outputs = ", ".join(f'{{name: "{n}_OUT", data_type: TYPE_{t}, dims: [-1]}}' for n, t in types.items())
    write_model(repository, "echo", echo(), f"max_batch_size: 8\ninput [{inputs}]\noutput [{outputs}]")
    write_model(
        repository,
        "lookup",
        lookup(),
        "max_batch_size: 16\ndynamic_batching {max_queue_delay_microseconds: 200000}\n"
        'input [{name: "index", data_type: TYPE_INT64, dims: [1]}]\n'
        'output [{name: "row", data_type: TYPE_FP32, dims: [1]}]',
    )
    one = Signature(
        inputs=[Tensor(name="x", datatype="FP32", shape=[-1])],
        outputs=[Tensor(name="y", datatype="FP32", shape=[-1])],
    )
    groups = (triton.InstanceGroup(count=2, kind="KIND_AUTO"),)
    settings = triton.TritonConfig(
        max_batch_size=8, dynamic_batching=True, max_queue_delay_us=100, instance_groups=groups, threads=1
    )
    write_model(repository, "double", double(), "")
    (repository / "double" / "config.pbtxt").write_text(triton.render("double", one, settings))
    yield from run(container, repository, "--disable-auto-complete-config")


@pytest.fixture(scope="module")
def unconfigured(container: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("unconfigured") / "models"
    write_model(repository, "digits", digits(), "")
    yield from run(container, repository)


def test_concurrent_answers_are_those_of_onnxruntime_to_the_bit(configured: Server) -> None:
    model = configured.log.parent / "models" / "digits" / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    images = [random.integers(0, 256, (1 + n % 3, 28, 28), dtype=np.uint8) for n in range(200)]

    def ask(n: int) -> np.ndarray:
        return configured.infer("http" if n % 2 else "grpc", "digits", {"image": images[n]}, "logits")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(len(images))))
    for image, answer in zip(images, answers, strict=True):
        np.testing.assert_array_equal(answer, session.run(None, {"image": image})[0])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_type_comes_back_as_it_went(configured: Server, protocol: str) -> None:
    inputs = {name: array for name, (_, array) in TYPES.items()}
    for name, array in inputs.items():
        answer = configured.infer(protocol, "echo", inputs, f"{name}_OUT")
        if name == "BYTES":
            assert [text.decode() for text in answer.ravel()] == list(array.ravel())
        else:
            assert answer.dtype == array.dtype
            np.testing.assert_array_equal(answer, array)


def test_the_operators_configuration_serves_a_model_of_one_number_per_example(configured: Server) -> None:
    numbers = np.array([[1], [2], [3]], np.float32)
    np.testing.assert_array_equal(configured.infer("grpc", "double", {"x": numbers}, "y"), 2 * numbers)


def test_bytes_that_are_not_text_are_refused_with_the_reason(configured: Server) -> None:
    inputs = {name: array for name, (_, array) in TYPES.items()} | {
        "BYTES": np.array([[b"\xff", b""]], object)
    }
    with pytest.raises(tritonclient.utils.InferenceServerException, match="a BYTES element isn't UTF-8 text"):
        configured.infer("http", "echo", inputs, "FP32_OUT")


def test_a_request_that_fails_does_not_fail_those_it_was_batched_with(configured: Server) -> None:
    def ask(index: int) -> float | str:
        try:
            answer = configured.infer("http", "lookup", {"index": np.array([[index]])}, "row")
        except tritonclient.utils.InferenceServerException as error:
            return str(error)
        return float(answer[0, 0])

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, [1, 2, 99, 4, 5, 6]))
    failed = answers.pop(2)
    assert answers == [1, 2, 4, 5, 6]
    assert "ONNX Runtime" in str(failed)
    assert "99" in str(failed)


@pytest.mark.parametrize("model", REFUSED)
def test_a_configuration_that_does_not_fit_is_refused_with_the_reason(configured: Server, model: str) -> None:
    state = configured.states()[model]
    assert state["state"] == "UNAVAILABLE"
    assert f"model '{model}': {REFUSED[model][1]}" in state["reason"]


def test_what_the_configuration_leaves_out_is_read_from_the_model(unconfigured: Server) -> None:
    url = f"http://127.0.0.1:{unconfigured.http}/v2/models/digits/config"
    with urllib.request.urlopen(url, timeout=10) as answer:
        config = json.loads(answer.read())
    assert config["max_batch_size"] == 4
    assert config["input"][0]["data_type"] == "TYPE_UINT8"
    assert config["input"][0]["dims"] == [28, 28]
    assert "dynamic_batching" in config
    image = np.ones((2, 28, 28), np.uint8)
    assert unconfigured.infer("grpc", "digits", {"image": image}, "logits").shape == (2, 10)
