"""ModelDeployment: serves a version, and replaces it only by one that is shown to be no worse."""

from slipway.controller import Controller
from slipway.kinds.model_deployment.decide import decide
from slipway.kinds.model_deployment.observe import observe, references

CONTROLLER = Controller("ModelDeployment", observe, decide, references)
