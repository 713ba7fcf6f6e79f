"""Dataset: reads data, checks it, and keeps a prepared copy under its digest."""

from slipway.controller import Controller
from slipway.kinds.dataset.decide import decide
from slipway.kinds.dataset.observe import observe, references

CONTROLLER = Controller("Dataset", observe, decide, references)
