"""TrainingRun: trains a model and registers it."""

from slipway.controller import Controller
from slipway.kinds.training_run.decide import decide
from slipway.kinds.training_run.observe import observe, references

CONTROLLER = Controller("TrainingRun", observe, decide, references)
