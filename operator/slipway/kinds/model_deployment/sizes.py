"""How many replicas each revision is to have. Pure.

Stable follows the load within spec.autoscaling, or the number that the spec states. A canary gets what its share
of the traffic needs, and more before it gets more; stable never shrinks while a trial is under way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from slipway.api.model_deployment import Autoscaling
from slipway.api.units import seconds as seconds
from slipway.kinds.model_deployment import trial
from slipway.kinds.model_deployment.world import Arm, Run, World
from slipway.rollout import autoscale, plan
from slipway.rollout.autoscale import Limits, Load, Scale, Scaling
from slipway.router.traffic import Counters

WINDOW_SECONDS = 15.0
STARTUP_SECONDS = 10.0
"""From asking for a replica to its first answer: image there, model of some megabytes, Triton up."""
DEFAULT_WINDOW = 120.0


@dataclass(frozen=True)
class Sizes:
    replicas: Mapping[str, int]
    """By revision, of those that run."""
    scale: Scale | None = None
    """What the autoscaler says; None where nothing scales."""
    scaling: Scaling = field(default_factory=Scaling)
    """What it remembers."""


def of(world: World, run: Run) -> Sizes:
    replicas: dict[str, int] = {}
    scale, scaling = None, world.scaling
    if run.stable is not None:
        replicas[run.stable.name], scale, scaling = _stable(world, run, run.stable)
    if run.canary is not None and run.trial is not None:
        weight = plan.next_weight(
            trial.way(world.deployment, run.canary.version, run.trial),
            run.trial.position,
            run.stable is not None,
        )
        replicas[run.canary.name] = canary_replicas(world, run.stable, weight, run.canary.replicas)
    return Sizes(replicas, scale, scaling)


def canary_replicas(world: World, stable: Arm | None, weight: int, current: int) -> int:
    """What the revision on trial needs to take `weight` percent; it doesn't shrink before its trial is over."""
    if stable is None:
        return max(_stated(world), current)
    # What carries everything as stable carries it as canary, too: the spare is for shares only.
    return max(min(autoscale.canary_replicas(stable.replicas, weight), max(stable.replicas, 1)), current)


def _stable(world: World, run: Run, stable: Arm) -> tuple[int, Scale | None, Scaling]:
    settings = world.deployment.spec.autoscaling
    # Fewer only after the trial: till then stable may have to carry everything again.
    least = stable.replicas if run.canary is not None else 0
    if settings is None or settings.scaler == "External":
        return max(_stated(world), least), None, world.scaling
    scaling, scale = autoscale.scale(
        _limits(world, settings),
        world.scaling,
        _load(world, stable),
        revision=stable.name,
        current=stable.replicas or settings.min_replicas,
        ready=stable.ready,
        startup=STARTUP_SECONDS,
        rollout=run.canary is not None,
        now=world.now,
    )
    return max(scale.desired, least), scale, scaling


def _stated(world: World) -> int:
    """Without figures: what the spec says."""
    spec = world.deployment.spec
    if spec.replicas is not None:
        return spec.replicas
    return spec.autoscaling.min_replicas if spec.autoscaling is not None else 1


def _limits(world: World, settings: Autoscaling) -> Limits:
    slo = world.deployment.spec.slo
    latency = slo.latency if slo is not None else None
    window = settings.scale_down_window
    return Limits(
        min_replicas=settings.min_replicas,
        max_replicas=settings.max_replicas,
        percentile=latency.percentile if latency is not None else 99,
        threshold_ms=1000 * seconds(latency.threshold) if latency is not None else None,
        target_concurrency=settings.target_concurrency,
        scale_down_window=seconds(window) if window is not None else DEFAULT_WINDOW,
    )


def _load(world: World, stable: Arm) -> Load | None:
    """The last minute; None without fresh figures, which is not the same as no requests."""
    if not world.has_figures:
        return None
    rates = {name: rates for name, rates in world.traffic.rates.items() if name.startswith(f"{world.key}/")}
    own = world.rates(stable)
    # Without any request there are no rates either.
    window = max((rate.seconds for rate in rates.values()), default=WINDOW_SECONDS)
    if window < WINDOW_SECONDS:
        return None
    counters = own.counters if own is not None else Counters()
    everything = sum(rate.requests_per_s for rate in rates.values())
    return Load(
        requests_per_s=everything,
        stable_requests_per_s=own.requests_per_s if own is not None else 0.0,
        median_ms=counters.percentile(50),
        tail_ms=counters.percentile(_percentile(world)),
        window=window,
        in_flight=everything * _mean_ms(counters) / 1000,
    )


def _percentile(world: World) -> float:
    slo = world.deployment.spec.slo
    return slo.latency.percentile if slo is not None and slo.latency is not None else 99


def _mean_ms(counters: Counters) -> float:
    """From the histogram, each bucket by its upper edge: by Little's law this makes requests in flight."""
    total = sum(count * edge for edge, count in counters.latency if edge != inf)
    return total / counters.measured if counters.measured else 0.0
