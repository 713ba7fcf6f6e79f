"""Settings from the environment, which __main__ hands in: nothing else in the operator reads it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


class SettingsError(Exception):
    """A variable is missing or can't be read; the message names it."""


@dataclass(frozen=True)
class Platform:
    """What kinds need to know of the installation they run in."""

    operator_image: str
    """Also runs the small jobs: verify, fetch, probe, publish."""
    jobs_image: str
    """Training and compression."""
    triton_image: str
    release_namespace: str
    """Where the operator and the router run."""
    router_service: str
    """Service of the router in the release namespace."""
    progress_url: str
    """Base of the progress port as pods reach it."""
    progress_ca: str = ""
    """PEM bundle that pods trust for it; set once the leader has its certificates."""
    cluster_domain: str = "cluster.local"

    @property
    def router_host(self) -> str:
        return f"{self.router_service}.{self.release_namespace}.svc.{self.cluster_domain}"


@dataclass(frozen=True)
class Settings:
    platform: Platform
    pod_name: str
    pod_uid: str | None
    """Owner of what the operator makes for itself; None outside a cluster."""
    watch_namespaces: tuple[str, ...] = ()
    """Empty: the whole cluster."""
    lease_name: str = "slipway-operator"
    workers: int = 16
    health_port: int = 8081
    """Probes and metrics."""
    ads_port: int = 18000
    progress_port: int = 8443
    progress_service: str = "slipway-operator"
    """Service that reaches the leader."""
    router_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Namespace -> suffixes of hosts that its deployments may claim."""
    envoy_hosts: str = ""
    """DNS name of the router's headless Service, whose addresses are scraped."""
    resync_seconds: float = 1800.0
    relist_seconds: float = 450.0
    """Own list-and-compare of every kind; finds deletions that a watch never reported."""
    log_level: str = "INFO"
    kubeconfig: str | None = None
    """Path; None: the pod's service account."""


PREFIX = "SLIPWAY_"


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from variables SLIPWAY_...; the chart sets them all, defaults serve a process on a desk."""
    variables = _Variables(environment)
    release_namespace = variables.text("NAMESPACE")
    router_service = variables.text("ROUTER_SERVICE", "slipway-router")
    progress_service = variables.text("PROGRESS_SERVICE", "slipway-operator")
    domain = variables.text("CLUSTER_DOMAIN", "cluster.local")
    progress_port = variables.port("PROGRESS_PORT", 8443)
    platform = Platform(
        operator_image=variables.text("OPERATOR_IMAGE"),
        jobs_image=variables.text("JOBS_IMAGE"),
        triton_image=variables.text("TRITON_IMAGE"),
        release_namespace=release_namespace,
        router_service=router_service,
        progress_url=variables.text(
            "PROGRESS_URL", f"https://{progress_service}.{release_namespace}.svc.{domain}:{progress_port}"
        ),
        cluster_domain=domain,
    )
    return Settings(
        platform=platform,
        pod_name=variables.text("POD_NAME"),
        pod_uid=variables.text("POD_UID", "") or None,
        watch_namespaces=variables.names("WATCH_NAMESPACES"),
        lease_name=variables.text("LEASE_NAME", "slipway-operator"),
        workers=int(variables.number("WORKERS", 16, least=1)),
        health_port=variables.port("HEALTH_PORT", 8081),
        ads_port=variables.port("ADS_PORT", 18000),
        progress_port=progress_port,
        progress_service=progress_service,
        router_hosts=variables.hosts("ROUTER_HOSTS"),
        envoy_hosts=variables.text("ENVOY_HOSTS", f"{router_service}-pods.{release_namespace}.svc.{domain}"),
        resync_seconds=variables.number("RESYNC_SECONDS", 1800, least=10),
        relist_seconds=variables.number("RELIST_SECONDS", 450, least=10),
        log_level=variables.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        kubeconfig=environment.get("KUBECONFIG") or None,
    )


class _Variables:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(PREFIX + name, default)
        if value is None or (default is None and not value):
            raise SettingsError(f"{PREFIX}{name} is not set: set it (the chart's operator Deployment does)")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.text(name, "").split(",") if part.strip())

    def hosts(self, name: str) -> dict[str, tuple[str, ...]]:
        """JSON: {"namespace": ["suffix", ...]}."""
        text = self.text(name, "{}")
        try:
            return {
                str(namespace): tuple(map(str, suffixes)) for namespace, suffixes in json.loads(text).items()
            }
        except (ValueError, AttributeError, TypeError) as error:
            raise SettingsError(
                f'{PREFIX}{name} is {text!r}: write JSON such as {{"demo": ["example.com"]}}'
            ) from error

    def number(self, name: str, default: float, *, least: float) -> float:
        text = self.text(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not value >= least:
            raise SettingsError(f"{PREFIX}{name} is {text!r}: set a number of at least {least:g}")
        return value

    def port(self, name: str, default: int) -> int:
        value = self.number(name, default, least=1)
        if value > 65535 or value != int(value):
            raise SettingsError(f"{PREFIX}{name} is {value:g}: set a port from 1 to 65535")
        return int(value)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise SettingsError(f"{PREFIX}{name} is {value!r}: set one of {', '.join(allowed)}")
        return value
