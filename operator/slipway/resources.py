"""The kinds of object the operator reads and writes, and where the API serves them."""

from dataclasses import dataclass

from slipway.manifests import API_VERSION


@dataclass(frozen=True)
class ResourceType:
    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """Empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """URL path; without namespace and name: all of them."""
        prefix = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{prefix}{place}/{self.plural}" + "".join(f"/{part}" for part in (name, subresource) if part)


OURS = tuple(
    ResourceType(API_VERSION, kind, plural)
    for kind, plural in (
        ("Dataset", "datasets"),
        ("TrainingRun", "trainingruns"),
        ("CompressionJob", "compressionjobs"),
        ("Model", "models"),
        ("ModelVersion", "modelversions"),
        ("ModelDeployment", "modeldeployments"),
    )
)
CHILDREN = (
    ResourceType("batch/v1", "Job", "jobs"),
    ResourceType("v1", "Pod", "pods"),
    ResourceType("v1", "ConfigMap", "configmaps"),
    ResourceType("v1", "Service", "services"),
    ResourceType("apps/v1", "Deployment", "deployments"),
    ResourceType("apps/v1", "ControllerRevision", "controllerrevisions"),
    ResourceType("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ResourceType("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
)
"""Cached and watched only with the label app.kubernetes.io/managed-by=slipway."""
OTHERS = (
    ResourceType("v1", "Secret", "secrets"),
    ResourceType("v1", "Namespace", "namespaces", namespaced=False),
    ResourceType("coordination.k8s.io/v1", "Lease", "leases"),
    ResourceType("events.k8s.io/v1", "Event", "events"),
)
"""Never cached. Secrets and Leases only in the release namespace."""

CACHED = OURS + CHILDREN
OUR_KINDS = frozenset(resource.kind for resource in OURS)
BY_KIND = {resource.kind: resource for resource in CACHED + OTHERS}
