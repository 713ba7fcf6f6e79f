"""Asking an API server how it is."""

import ssl
import urllib.request

from .certificates import Folder


def not_ready(server: str, pki: Folder) -> str:
    """Empty once the API server is ready; before, what it said."""
    trust = ssl.create_default_context(cafile=str(pki.certificate("ca")))
    trust.load_cert_chain(pki.certificate("admin"), pki.key("admin"))
    direct = urllib.request.ProxyHandler({})
    opener = urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=trust))
    try:
        opener.open(f"{server}/readyz", timeout=2).close()
    except OSError as error:  # refused while it starts; 403 or 500 until its start-up hooks are through
        return str(error)
    return ""
