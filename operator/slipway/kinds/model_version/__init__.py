"""ModelVersion: bytes of a model, verified, with those who use them."""

from slipway.controller import Controller
from slipway.kinds.model_version.decide import decide
from slipway.kinds.model_version.observe import observe, references

CONTROLLER = Controller("ModelVersion", observe, decide, references)
