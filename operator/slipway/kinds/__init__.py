"""The kinds: each package has observe (reads the View), decide (pure) and objects (manifests)."""

from slipway.controller import AnyController
from slipway.kinds import compression_job, dataset, model, model_deployment, model_version, training_run

CONTROLLERS: tuple[AnyController, ...] = (
    dataset.CONTROLLER,
    training_run.CONTROLLER,
    compression_job.CONTROLLER,
    model.CONTROLLER,
    model_version.CONTROLLER,
    model_deployment.CONTROLLER,
)
