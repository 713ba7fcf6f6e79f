from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slipway.contract.examples import ExampleSet
from slipway_jobs import digest
from slipway_jobs.failure import Failure


def model(path: Path, factor: float = 2.0) -> Path:
    """y = factor * x, [batch, 3]."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.full(3, factor, np.float32), "w")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, str(path))
    return path


def task(**changes: Any) -> dict[str, Any]:
    return {
        "task": "verify",
        "storageUri": "store://uploads/byo/model.onnx",
        "examplesUri": "store://models/byo/examples.json",
        **changes,
    }


def test_a_file_made_elsewhere_needs_nothing_else(tasks: Any, root: Path) -> None:
    path = model(root / "uploads/byo/model.onnx")
    made = tasks.run(task())
    assert made.digest == f"sha256:{digest.of_file(path)}"
    assert (made.files, made.size_bytes) == (1, path.stat().st_size)
    assert made.signature.inputs[0].model_dump(exclude_none=True) == {
        "name": "x",
        "datatype": "FP32",
        "shape": [-1, 3],
    }
    examples = ExampleSet.model_validate_json(tasks.store.read("store://models/byo/examples.json"))
    assert len(examples.examples) == made.examples.count == 4
    first = examples.examples[0]
    assert first.inputs[0].shape == [1, 3]
    assert first.outputs[0].values() == [2 * value for value in first.inputs[0].values()]


def test_examples_that_are_there_are_replayed_not_replaced(tasks: Any, root: Path) -> None:
    model(root / "uploads/byo/model.onnx")
    tasks.run(task())
    before = tasks.store.read("store://models/byo/examples.json")
    tasks.run(task())
    assert tasks.store.read("store://models/byo/examples.json") == before
    model(root / "uploads/byo/model.onnx", factor=3.0)
    with pytest.raises(Failure, match=r"The model gives y .*, recorded .* \(example 1\); it is not loaded"):
        tasks.run(task())


def test_no_examples_are_no_examples(tasks: Any, root: Path) -> None:
    model(root / "uploads/byo/model.onnx")
    tasks.store.write("store://models/byo/examples.json", b'{"version":1,"examples":[]}')
    with pytest.raises(Failure, match=r"byo/examples\.json holds no example; add one, or remove the file"):
        tasks.run(task())


def test_other_bytes_than_stated_are_not_loaded(tasks: Any, root: Path) -> None:
    path = model(root / "uploads/byo/model.onnx")
    with pytest.raises(Failure) as failure:
        tasks.run(task(digest="sha256:" + "0" * 64))
    assert failure.value.reason == "DigestMismatch"
    assert failure.value.message == (
        f"spec.digest is sha256:000000000000, the file is sha256:{digest.of_file(path)[:12]}; it is not loaded."
    )


def test_a_signature_must_be_the_files(tasks: Any, root: Path) -> None:
    model(root / "uploads/byo/model.onnx")
    told = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3], "classes": ["a", "b", "c"]}],
    }
    assert tasks.run(task(signature=told)).signature.outputs[0].classes == ["a", "b", "c"]
    told["inputs"][0]["datatype"] = "UINT8"
    with pytest.raises(
        Failure, match=r"spec\.signature\.inputs is x UINT8 \[-1, 3\], the file has x FP32 \[-1, 3\]"
    ):
        tasks.run(task(signature=told))


def test_what_is_no_onnx_is_said_so(tasks: Any, root: Path) -> None:
    (root / "uploads/byo").mkdir(parents=True)
    (root / "uploads/byo/model.onnx").write_bytes(b"pickle" * 100)
    with pytest.raises(Failure, match=r"model\.onnx: no ONNX file") as failure:
        tasks.run(task())
    assert failure.value.reason == "NotLoadable"


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/passwd", "..\\secret.bin", "gone.bin"])
def test_external_data_stays_in_its_folder(tasks: Any, root: Path, place: str) -> None:
    path = model(root / "uploads/byo/model.onnx")
    proto = onnx.load(str(path))
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(Failure, match=r"model\.onnx: .*(outside the model's folder|isn't beside it)"):
        tasks.run(task(storageUri="store://uploads/byo/"))


def test_a_folder_needs_one_model(tasks: Any, root: Path) -> None:
    model(root / "uploads/byo/a.onnx")
    model(root / "uploads/byo/b.onnx")
    with pytest.raises(Failure, match=r"has a\.onnx, b\.onnx; expected one \.onnx file, or model\.onnx"):
        tasks.run(task(storageUri="store://uploads/byo/"))


def test_fetch_lays_out_a_triton_repository(tasks: Any, root: Path, tmp_path: Path) -> None:
    path = model(root / "uploads/byo/model.onnx")
    made = tasks.run(task())
    fetch = {
        "task": "fetch",
        "storageUri": made.storage_uri,
        "digest": made.digest,
        "examplesUri": made.examples.storage_uri,
        "modelName": "fashion",
        "configPbtxt": 'backend: "onnxruntime"\n',
        "repository": str(tmp_path / "models"),
    }
    for _ in range(2):  # an init container may run twice
        tasks.run(fetch)
    found = {
        p.relative_to(tmp_path / "models").as_posix() for p in (tmp_path / "models").rglob("*") if p.is_file()
    }
    assert found == {"fashion/1/model.onnx", "fashion/config.pbtxt", "fashion/examples.json"}
    assert (tmp_path / "models/fashion/1/model.onnx").read_bytes() == path.read_bytes()
    model(path, factor=9.0)
    with pytest.raises(Failure, match=r"fashion should be sha256:.* it is not loaded"):
        tasks.run(fetch | {"repository": str(tmp_path / "other")})
    assert not list((tmp_path / "other").iterdir())
