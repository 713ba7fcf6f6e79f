"""Task fetch: a version's bytes, checked, laid out as a Triton repository. Whole or absent."""

import shutil
import tempfile
from pathlib import Path

from slipway.contract.base import Named
from slipway.contract.config import FetchTask, JobConfig
from slipway.contract.examples import FILE, ExampleSet
from slipway.contract.report import ToolReport
from slipway_jobs.model_files import MODEL, fetch_model
from slipway_jobs.store import Store


def run(config: JobConfig, task: FetchTask, store: Store) -> ToolReport:
    repository = Path(task.repository)
    repository.mkdir(parents=True, exist_ok=True)
    target = repository / task.model_name
    with tempfile.TemporaryDirectory(dir=repository, prefix=".") as temporary:
        source, filling = Path(temporary, "source"), Path(temporary, "model")
        path = fetch_model(store, task.storage_uri, Named(name=task.model_name, digest=task.digest), source)
        version = filling / "1"
        version.mkdir(parents=True)
        for file in path.parent.iterdir():  # the model and its external data, which lies beside it
            if file == path or not file.name.endswith((".json", ".safetensors", ".onnx")):
                shutil.move(file, version / (MODEL if file == path else file.name))
        (filling / "config.pbtxt").write_text(task.config_pbtxt)
        examples = ExampleSet.model_validate_json(store.read(task.examples_uri))
        (filling / FILE).write_text(examples.to_json())
        filling.chmod(0o755)
        if target.exists():  # the init container was started again
            shutil.rmtree(target)
        filling.rename(target)
    print(f"fetch: {task.model_name} is in {target}, {len(examples.examples)} examples", flush=True)
    return ToolReport(task="fetch", outcome="Succeeded", attempt=config.attempt)
