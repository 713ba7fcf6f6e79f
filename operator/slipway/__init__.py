"""Slipway: a Kubernetes operator from data to trusted traffic."""
