"""Triton's `onnxruntime` backend for the CPU, written in Python, so that a standard model repository serves unmodified.

Triton starts one process of this per model instance. As in NVIDIA's native backend: `model.onnx` in the version
directory, `optimization.graph.level`, and the parameters of PARAMETERS below; unlike there, threads default to 1, since
a serving pod has many instances or few cores. What can't be honoured is refused when the model loads.
"""

import json
import os
import site

# The stub runs an isolated interpreter that ignores PYTHONPATH.
site.addsitedir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "site"))

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # exists inside the stub only

TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}
PARAMETERS = (
    "intra_op_thread_count",
    "inter_op_thread_count",
    "execution_mode",
    "enable_mem_arena",
    "enable_mem_pattern",
)
GRAPH_LEVELS = {
    "-1": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "0": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "1": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "2": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
AUTO_MAX_BATCH_SIZE = 4  # Triton's own default for a model that can batch and doesn't say how much


def number(parameters, name, default, allowed):
    value = parameters.get(name, {}).get("string_value", str(default))
    if not value.isdigit() or int(value) not in allowed:
        raise ValueError(f"parameters.{name} is {value!r}; it can be {allowed.start} to {allowed.stop - 1}.")
    return int(value)


def session_options(config):
    """ONNX Runtime's options for a model configuration."""
    parameters = config.get("parameters") or {}
    unknown = sorted(set(parameters) - set(PARAMETERS))
    if unknown:
        raise ValueError(
            f"parameters.{unknown[0]} isn't known to the CPU backend; it knows {', '.join(PARAMETERS)}."
        )
    level = str(((config.get("optimization") or {}).get("graph") or {}).get("level", 0))
    if level not in GRAPH_LEVELS:
        raise ValueError(f"optimization.graph.level is {level}; it can be {', '.join(GRAPH_LEVELS)}.")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = GRAPH_LEVELS[level]
    options.intra_op_num_threads = number(parameters, "intra_op_thread_count", 1, range(1025))
    options.inter_op_num_threads = number(parameters, "inter_op_thread_count", 1, range(1025))
    parallel = number(parameters, "execution_mode", 0, range(2))
    options.execution_mode = ort.ExecutionMode.ORT_PARALLEL if parallel else ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = bool(number(parameters, "enable_mem_arena", 1, range(2)))
    options.enable_mem_pattern = bool(number(parameters, "enable_mem_pattern", 1, range(2)))
    return options


def open_session(config, folder):
    path = os.path.join(folder, config.get("default_model_filename") or "model.onnx")
    if not os.path.isfile(path):
        raise ValueError(f"{path} isn't there; the version directory must hold the ONNX file.")
    return ort.InferenceSession(path, session_options(config), providers=["CPUExecutionProvider"])


def shape_of(tensor):
    return [size if isinstance(size, int) else -1 for size in tensor.shape]


def triton_type(tensor):
    if tensor.type not in TYPES:
        raise ValueError(
            f"{tensor.name!r} of the ONNX file is {tensor.type}, which this backend can't carry."
        )
    return TYPES[tensor.type]


def check(kind, stated, tensors, max_batch_size):
    """Raises where config.pbtxt says something else of the inputs or outputs than the ONNX file."""
    actual = {tensor.name: tensor for tensor in tensors}
    for entry in stated:
        name = entry["name"]
        if name not in actual:
            raise ValueError(f"{kind} {name!r} isn't in the ONNX file; it has {', '.join(sorted(actual))}.")
        shape, data_type = shape_of(actual[name]), triton_type(actual[name])
        if entry["data_type"] != data_type:
            raise ValueError(
                f"{kind} {name!r} is {entry['data_type']} in config.pbtxt, {data_type} in the ONNX file."
            )
        if max_batch_size > 0 and (not shape or shape[0] != -1):
            raise ValueError(
                f"max_batch_size is {max_batch_size}, but the first dimension of {kind} {name!r} {shape} "
                "is fixed in the ONNX file; set max_batch_size: 0 or export it with a dynamic one."
            )
        reshape = entry.get("reshape")
        dims = [int(size) for size in (entry["dims"] if reshape is None else reshape.get("shape", []))]
        wanted = [-1, *dims] if max_batch_size > 0 else dims
        if len(wanted) != len(shape) or any(
            -1 not in pair and pair[0] != pair[1] for pair in zip(wanted, shape, strict=True)
        ):
            batch = " with the batch dimension that max_batch_size adds" if max_batch_size > 0 else ""
            raise ValueError(f"{kind} {name!r} is {wanted} in config.pbtxt{batch}, {shape} in the ONNX file.")


def to_onnx(tensor):
    array = tensor.as_numpy()
    if array.dtype != object:
        return array
    return np.array([text.decode() for text in array.ravel()], dtype=object).reshape(array.shape)


def to_triton(name, array):
    if array.dtype == object:
        array = np.array([str(text).encode() for text in array.ravel()], dtype=object).reshape(array.shape)
    return pb_utils.Tensor(name, np.ascontiguousarray(array))


def refusal(message, code="INVALID_ARG"):
    # By name: Triton adds TritonError to its module only after it has imported this file.
    error = pb_utils.TritonError(message, getattr(pb_utils.TritonError, code))
    return pb_utils.InferenceResponse(error=error)


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(auto):
        """Fills in what config.pbtxt leaves out. Triton doesn't say where the model lies; our command line does."""
        with open("/proc/self/cmdline", "rb") as command:
            folder = os.path.dirname(command.read().split(b"\0")[1].decode())
        config = auto.as_dict()
        session = open_session(config, folder)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        batch = int(config.get("max_batch_size") or 0)
        unsaid = batch == 0 and not config.get("input") and not config.get("output")
        if unsaid and all(shape_of(tensor)[:1] == [-1] for tensor in inputs + outputs):
            batch = AUTO_MAX_BATCH_SIZE
            auto.set_max_batch_size(batch)
            if "dynamic_batching" not in config:
                auto.set_dynamic_batching()
        for key, tensors, add in (("input", inputs, auto.add_input), ("output", outputs, auto.add_output)):
            stated = {entry["name"] for entry in config.get(key) or [] if entry.get("dims")}
            for tensor in tensors:
                if tensor.name not in stated:
                    dims = shape_of(tensor)[1 if batch > 0 else 0 :]
                    add({"name": tensor.name, "data_type": triton_type(tensor), "dims": dims})
        return auto

    def initialize(self, args):
        config = json.loads(args["model_config"])
        try:
            if args["model_instance_kind"] == "GPU":
                raise ValueError(
                    "instance_group is KIND_GPU; this image serves on CPUs: KIND_CPU or KIND_AUTO."
                )
            self.session = open_session(config, os.path.join(args["model_repository"], args["model_version"]))
            self.batched = int(config["max_batch_size"])
            check("input", config["input"], self.session.get_inputs(), self.batched)
            check("output", config["output"], self.session.get_outputs(), self.batched)
            self.inputs = [entry["name"] for entry in config["input"]]
            self.outputs = [entry["name"] for entry in config["output"]]
            missing = sorted({tensor.name for tensor in self.session.get_inputs()} - set(self.inputs))
            if missing:
                raise ValueError(f"the ONNX file's input {missing[0]!r} isn't in config.pbtxt; add it.")
        except Exception as error:  # whatever it is, the reason belongs in the repository index
            raise pb_utils.TritonModelException(f"model {config['name']!r}: {error}") from error

    def execute(self, requests):
        """One response per request, in order. Requests of equal shapes run as one batch."""
        responses = [None] * len(requests)
        groups = {}
        for index, request in enumerate(requests):
            if request.is_cancelled():
                responses[index] = refusal("the client cancelled the request.", "CANCELLED")
                continue
            try:
                feeds = self.feeds(request)
            except UnicodeDecodeError as error:
                responses[index] = refusal(f"a BYTES element isn't UTF-8 text: {error}")
                continue
            shapes = tuple((name, array.shape[1:]) for name, array in feeds.items())
            groups.setdefault(shapes if self.batched else index, []).append((index, feeds))
        for group in groups.values():
            for (index, _), response in zip(group, self.answer(requests, group), strict=True):
                responses[index] = response
        return responses

    def feeds(self, request):
        tensors = ((name, pb_utils.get_input_tensor_by_name(request, name)) for name in self.inputs)
        return {name: to_onnx(tensor) for name, tensor in tensors if tensor is not None}

    def answer(self, requests, group):
        try:
            return self.run(requests, group)
        except Exception as error:  # ONNX Runtime's errors share no narrower base
            if len(group) > 1:  # one bad request mustn't fail those it was batched with
                return [response for member in group for response in self.answer(requests, [member])]
            return [refusal(f"ONNX Runtime: {error}", "INTERNAL")]

    def run(self, requests, group):
        feeds = group[0][1]
        if len(group) > 1:
            feeds = {name: np.concatenate([member[name] for _, member in group]) for name in feeds}
        arrays = dict(zip(self.outputs, self.session.run(self.outputs, feeds), strict=True))
        responses, start = [], 0
        for index, member in group:
            wanted = requests[index].requested_output_names()
            mine = {name: array for name, array in arrays.items() if name in wanted}
            if len(group) > 1:
                end = start + next(iter(member.values())).shape[0]
                mine = {name: array[start:end] for name, array in mine.items()}
                start = end
            tensors = [to_triton(name, array) for name, array in mine.items()]
            responses.append(pb_utils.InferenceResponse(output_tensors=tensors))
        return responses
