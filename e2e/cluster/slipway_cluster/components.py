"""The programs of the node and the words they are started with."""

from . import paths
from .cluster import Cluster


def commands(cluster: Cluster) -> dict[str, list[str]]:
    """By name of the component, in the order they are started."""
    programs = paths.programs()
    built = {
        "etcd": ("etcd", etcd(cluster)),
        "apiserver": ("kube-apiserver", apiserver(cluster)),
        "kubelet": ("kubelet", kubelet(cluster)),
        "controller-manager": ("kube-controller-manager", controller_manager(cluster)),
        "scheduler": ("kube-scheduler", scheduler(cluster)),
        "kube-proxy": ("kube-proxy", [f"--config={cluster.config}/kube-proxy.json"]),
        "coredns": ("coredns", [f"-conf={cluster.config}/Corefile"]),
        "metrics-server": ("metrics-server", metrics_server(cluster)),
        "local-path-provisioner": ("local-path-provisioner", local_path_provisioner(cluster)),
    }
    containerd = ["/usr/bin/containerd", f"--config={cluster.config}/containerd.toml"]
    return {"containerd": containerd} | {
        name: [str(programs / program), *words] for name, (program, words) in built.items()
    }


def etcd(cluster: Cluster) -> list[str]:
    return [
        f"--data-dir={cluster.folder}/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        # A cluster for tests: it may lose its state when the machine (not only the cluster) crashes.
        "--unsafe-no-fsync",
    ]


def apiserver(cluster: Cluster) -> list[str]:
    pki = cluster.pki
    return [
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={cluster.node_address}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={cluster.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
    ]


def controller_manager(cluster: Cluster) -> list[str]:
    pki = cluster.pki
    return [
        f"--kubeconfig={pki}/controller-manager.kubeconfig",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        "--use-service-account-credentials=true",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--leader-elect=false",
    ]


def scheduler(cluster: Cluster) -> list[str]:
    return [f"--kubeconfig={cluster.pki}/scheduler.kubeconfig", "--leader-elect=false"]


def kubelet(cluster: Cluster) -> list[str]:
    return [
        f"--config={cluster.config}/kubelet.json",
        f"--kubeconfig={cluster.pki}/kubelet.kubeconfig",
        f"--hostname-override={cluster.name}",
        f"--node-ip={cluster.node_address}",
    ]


def metrics_server(cluster: Cluster) -> list[str]:
    kubeconfig = f"{cluster.pki}/metrics-server.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--secure-port=4443",
        f"--tls-cert-file={cluster.pki}/metrics-server.crt",
        f"--tls-private-key-file={cluster.pki}/metrics-server.key",
        f"--kubelet-certificate-authority={cluster.pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=15s",
    ]


def local_path_provisioner(cluster: Cluster) -> list[str]:
    return [
        "start",
        f"--kubeconfig={cluster.pki}/local-path.kubeconfig",
        f"--config={cluster.config}/local-path.json",
        f"--helper-pod-file={cluster.config}/helper-pod.json",
        "--namespace=local-path-storage",
        "--service-account-name=default",
    ]
