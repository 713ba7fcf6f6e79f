"""Model: a name with aliases that move by rule."""

from slipway.controller import Controller
from slipway.kinds.model.decide import decide
from slipway.kinds.model.observe import observe, references

CONTROLLER = Controller("Model", observe, decide, references)
