"""Keys, certificates and kubeconfigs, by openssl: set-up runs before any Python package is there."""

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

DAYS = "3650"
# Without a config of our own, openssl adds the extensions of the machine's openssl.cnf to each certificate.
PLAIN_CONFIG = "[req]\ndistinguished_name = dn\n[dn]\n"


class Folder:
    """A folder of key pairs NAME.key and NAME.crt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (path / "openssl.cnf").write_text(PLAIN_CONFIG)

    def key(self, name: str) -> Path:
        return self.path / f"{name}.key"

    def certificate(self, name: str) -> Path:
        return self.path / f"{name}.crt"

    def authority(self, name: str, common_name: str) -> None:
        extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,digitalSignature"]
        self._request(name, f"/CN={common_name}", extensions)

    def issue(
        self, name: str, common_name: str, group: str = "", hosts: Sequence[str] = (), authority: str = "ca"
    ) -> None:
        """A certificate for a client, and for a server too if it has hosts (`DNS:name`, `IP:address`)."""
        subject = f"/O={group}/CN={common_name}" if group else f"/CN={common_name}"
        usage = "clientAuth,serverAuth" if hosts else "clientAuth"
        extensions = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            f"extendedKeyUsage={usage}",
            "authorityKeyIdentifier=keyid",
        ]
        if hosts:
            extensions.append("subjectAltName=" + ",".join(hosts))
        signer = ["-CA", str(self.certificate(authority)), "-CAkey", str(self.key(authority))]
        self._request(name, subject, extensions, signer)

    def signing_key(self, name: str) -> None:
        """A bare key pair NAME.key and NAME.pub: service account tokens are signed with it."""
        curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        openssl("genpkey", *curve, "-out", str(self.key(name)))
        openssl("pkey", "-in", str(self.key(name)), "-pubout", "-out", str(self.path / f"{name}.pub"))

    def kubeconfig(self, name: str, server: str, context: str = "slipway") -> Path:
        """NAME.kubeconfig, whole in itself: certificate and key of NAME inside. (JSON is YAML, too.)"""
        cluster = {"server": server, "certificate-authority-data": _base64(self.certificate("ca"))}
        user = {
            "client-certificate-data": _base64(self.certificate(name)),
            "client-key-data": _base64(self.key(name)),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": name}}],
            "current-context": context,
        }
        path = self.path / f"{name}.kubeconfig"
        path.write_text(json.dumps(config, indent=1) + "\n")
        path.chmod(0o600)
        return path

    def _request(
        self, name: str, subject: str, extensions: Sequence[str], signer: Sequence[str] = ()
    ) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
        files = ["-keyout", str(self.key(name)), "-out", str(self.certificate(name))]
        options = [word for extension in extensions for word in ("-addext", extension)]
        config = ["-config", str(self.path / "openssl.cnf")]
        openssl("req", "-x509", *config, *key, *files, "-days", DAYS, "-subj", subject, *signer, *options)


def openssl(*words: str) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`openssl {' '.join(words)}` failed: {done.stderr.strip()}")


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
