"""One question to a ModelDeployment over each protocol, as its clients ask."""

import numpy as np
import requests
import tritonclient.grpc as triton_grpc  # type: ignore[import-untyped]  # untyped
from numpy.typing import NDArray

TIMEOUT_SECONDS = 10


def over_rest(
    router: str, host: str, model: str, image: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], str]:
    """The logits, and the revision that gave them."""
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": list(image.shape),
        "data": image.ravel().tolist(),
    }
    # The machine's proxy settings are for elsewhere.
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"http://{router}/v2/models/{model}/infer",
            json={"inputs": [tensor]},
            headers={"Host": host},
            timeout=TIMEOUT_SECONDS,
        )
    assert answer.status_code == 200, f"HTTP {answer.status_code}: {answer.text}"
    output = answer.json()["outputs"][0]
    return np.array(output["data"], np.float32).reshape(output["shape"]), answer.headers["x-slipway-revision"]


def over_grpc(router: str, host: str, model: str, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    options = [("grpc.default_authority", host), ("grpc.enable_http_proxy", 0)]
    with triton_grpc.InferenceServerClient(f"{router}:8001", channel_args=options) as client:
        tensor = triton_grpc.InferInput("image", list(image.shape), "UINT8")
        tensor.set_data_from_numpy(image)
        answer = client.infer(model, [tensor], client_timeout=TIMEOUT_SECONDS)
        found: NDArray[np.float32] = answer.as_numpy("logits")
    return found
