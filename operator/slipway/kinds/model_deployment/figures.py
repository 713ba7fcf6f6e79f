"""Figures of traffic in a status. One at rest is not written anew: a figure stays until it has moved notably. Pure."""

from collections.abc import Mapping

from slipway.api.model_deployment import AutoscalingStatus
from slipway.kinds.model_deployment.sizes import Sizes
from slipway.kinds.model_deployment.world import Arm, Run, World
from slipway.router.traffic import Counters

NOTABLE = 0.2
"""Relative change from which figures are written anew."""
NOTABLE_BY_NAME = {"error_rate": 0.005, "requests_per_s": 1.0}
"""Absolute changes that are noise, however large against a small figure."""
NOTABLE_SHARE = 2.0
"""Percent points, for shares of traffic."""


def traffic(world: World) -> dict[str, float]:
    """The last minute, also of what served in it and doesn't any more; as before where nothing moved notably, or
    nothing was read."""
    old = world.deployment.status.metrics
    if not world.has_figures:
        return dict(old)
    rates = [rates for name, rates in world.traffic.rates.items() if name.startswith(f"{world.key}/")]
    if not rates:
        return {"requests_per_s": 0.0} if old else {}
    counters = sum((rate.counters for rate in rates), Counters())
    figures = {
        "requests_per_s": sum(rate.requests_per_s for rate in rates),
        "error_rate": counters.bad / counters.total if counters.total else 0.0,
    }
    for percent in (50, 99):
        value = counters.percentile(percent)
        if value is not None:
            figures[f"latency_p{percent}_ms"] = value
    return _settled(old, {name: float(f"{value:.3g}") for name, value in figures.items()})


def share(world: World, run: Run, arm: Arm) -> float | None:
    """Share of requests seen, in percent; the one in status while it is near."""
    seen = world.traffic.shares(world.key).get(arm.name)
    known = next((old for old in world.deployment.status.revisions if old.name == arm.name), None)
    before = known.observed_weight if known is not None and known.weight == run.weights[arm.name] else None
    if before is not None and not world.has_figures:
        return before
    if before is not None and seen is not None and abs(before - seen) < NOTABLE_SHARE:
        return before
    return round(seen, 1) if seen is not None else None


def autoscaling(world: World, sized: Sizes, stable: Arm | None) -> AutoscalingStatus | None:
    scale, old = sized.scale, world.deployment.status.autoscaling or AutoscalingStatus()
    if scale is None or stable is None:
        return None
    metrics = _settled(old.metrics, scale.metrics)
    same = old.message and old.desired_replicas == scale.desired and dict(metrics) == old.metrics
    return AutoscalingStatus(
        current_replicas=stable.ready,
        desired_replicas=scale.desired,
        last_scale_time=sized.scaling.last_scale or old.last_scale_time,
        metrics=metrics,
        message=old.message if same else scale.message,
    )


def _settled(old: Mapping[str, float], new: Mapping[str, float]) -> dict[str, float]:
    """The new figures if any moved notably, else the old ones."""
    same = old.keys() == new.keys() and not any(_moved(name, old[name], new[name]) for name in new)
    return dict(old if same else new)


def _moved(name: str, old: float, new: float) -> bool:
    return abs(new - old) > max(NOTABLE * max(abs(new), abs(old)), NOTABLE_BY_NAME.get(name, 0.0))
