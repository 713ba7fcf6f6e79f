"""The certificates and configuration files of a cluster's programs."""

import json
import resource
from collections.abc import Mapping
from typing import Any

from .certificates import Folder
from .cluster import Cluster

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "localhost/pause:1"
BUSYBOX_IMAGE = "localhost/busybox:1"


def make_certificates(cluster: Cluster) -> None:
    """Once per cluster: tokens and kubeconfigs in use must stay good over restarts."""
    if cluster.kubeconfig.exists():
        return
    pki = Folder(cluster.pki)
    node = f"IP:{cluster.node_address}"
    service = "kubernetes.default.svc"
    names = ["kubernetes", "kubernetes.default", service, f"{service}.cluster.local", "localhost"]
    apiserver = [f"DNS:{name}" for name in names] + ["IP:127.0.0.1", f"IP:{cluster.api_service}", node]
    pki.authority("ca", f"{cluster.name}-ca")
    pki.issue("apiserver", "kube-apiserver", hosts=apiserver)
    pki.issue("apiserver-kubelet", "kube-apiserver-kubelet-client")
    pki.issue("kubelet", f"system:node:{cluster.name}", "system:nodes", [f"DNS:{cluster.name}", node])
    pki.issue("controller-manager", "system:kube-controller-manager")
    pki.issue("scheduler", "system:kube-scheduler")
    pki.issue("kube-proxy", "system:kube-proxy")
    pki.issue("coredns", "system:coredns")
    pki.issue("metrics-server", "system:metrics-server", hosts=["DNS:metrics-server.kube-system.svc", node])
    pki.issue("local-path", "system:local-path-provisioner")
    pki.issue("admin", "admin", "system:masters")
    pki.authority("front-proxy-ca", f"{cluster.name}-front-proxy-ca")
    pki.issue("front-proxy", "front-proxy-client", authority="front-proxy-ca")
    pki.signing_key("service-accounts")
    clients = ("kubelet", "controller-manager", "scheduler", "kube-proxy", "coredns", "metrics-server")
    for client in (*clients, "local-path"):
        pki.kubeconfig(client, cluster.server)
    # Last and by renaming: its existence says that all the rest is there.
    pki.kubeconfig("admin", cluster.server, context=cluster.name).rename(cluster.kubeconfig)


def write(cluster: Cluster) -> None:
    """At every start, so that a changed checkout takes effect."""
    folder = cluster.config
    (folder / "cni").mkdir(parents=True, exist_ok=True)
    (folder / "containerd.toml").write_text(containerd(cluster))
    (folder / "cni" / "10-slipway.conflist").write_text(_json(network(cluster)))
    (folder / "kubelet.json").write_text(_json(kubelet(cluster)))
    (folder / "kube-proxy.json").write_text(_json(kube_proxy(cluster)))
    (folder / "Corefile").write_text(corefile(cluster))
    (folder / "resolv.conf").write_text(f"nameserver {cluster.node_address}\n")
    (folder / "local-path.json").write_text(_json(local_path(cluster)))
    (folder / "helper-pod.json").write_text(_json(HELPER_POD))


def containerd(cluster: Cluster) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""\
version = 2
root = "{cluster.folder}/containerd"
state = "/run/containerd"

[grpc]
address = "{CONTAINERD_SOCKET}"

[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
# Without CAP_SYS_RESOURCE no score may go below 0; runc then dies with a message about pipes.
restrict_oom_score_adj = true

[{cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{cluster.config}/cni"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def network(cluster: Cluster) -> Mapping[str, Any]:
    """Each pod gets a routed link. A bridge would hand replies between its pods around the Services' rewriting."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": cluster.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        # In the node's own /run, gone with the node: so addresses of killed pods are free again.
        "dataDir": "/run/cni/addresses",
    }
    return {
        "cniVersion": "1.0.0",
        "name": cluster.name,
        "plugins": [
            {"type": "ptp", "ipMasq": True, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet(cluster: Cluster) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(cluster.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(cluster.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(cluster.pki / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDNS": [cluster.dns_service],
        "clusterDomain": "cluster.local",
        "resolvConf": str(cluster.config / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cluster.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "maxOpenFiles": min(1_000_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        # The machine's disk isn't the cluster's: never evict pods or delete images because others fill it.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
    }


def kube_proxy(cluster: Cluster) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(cluster.pki / "kube-proxy.kubeconfig")},
        "hostnameOverride": cluster.name,
        "clusterCIDR": cluster.pods,
        "oomScoreAdj": 0,
        # A network namespace below the machine's can't set the machine's table size.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def corefile(cluster: Cluster) -> str:
    """The cluster has no way to the internet, and says so at once instead of letting lookups time out."""
    return f"""\
cluster.local in-addr.arpa ip6.arpa {{
    bind {cluster.node_address}
    errors
    cache 5
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {cluster.pki}/coredns.kubeconfig
        pods insecure
        ttl 5
    }}
}}
. {{
    bind {cluster.node_address}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def local_path(cluster: Cluster) -> Mapping[str, Any]:
    everywhere = {"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [f"{cluster.folder}/volumes"]}
    return {"nodePathMap": [everywhere]}


# The provisioner runs its scripts, which make and remove a folder, in a pod of this shape.
HELPER_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "helper-pod"},
    "spec": {"containers": [{"name": "helper-pod", "image": BUSYBOX_IMAGE, "imagePullPolicy": "Never"}]},
}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1) + "\n"
