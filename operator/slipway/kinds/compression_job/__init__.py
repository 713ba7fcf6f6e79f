"""CompressionJob: makes a version smaller or faster, measures it and registers it."""

from slipway.controller import Controller
from slipway.kinds.compression_job.decide import decide
from slipway.kinds.compression_job.observe import observe, references

CONTROLLER = Controller("CompressionJob", observe, decide, references)
