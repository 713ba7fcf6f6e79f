"""Who trusts whom between the operator and its routers; all certificates come from the leader's own CA.

Names are ours and of no DNS: what is checked is who the peer is, not where it is.
"""

from typing import Any as Json

from slipway.router.message import typed

LEADER_NAME = "leader.slipway.internal"
"""In the certificate of the ADS and progress servers."""
OPERATOR_NAME = "operator.slipway.internal"
"""In the certificate the operator shows to routers."""
ROUTER_NAME = "router.slipway.internal"
"""In the certificate of routers, as servers and as clients."""

CERTIFICATE = "certificate"
AUTHORITY = "authority"
CONFIG_DIRECTORY = "/etc/slipway/router"
"""Where a router finds its bootstrap and the two files that name its certificates."""


def downstream_tls(directory: str = CONFIG_DIRECTORY) -> dict[str, Json]:
    """Transport socket of a listener for the operator alone."""
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(
            "transport_sockets.tls.v3.DownstreamTlsContext",
            require_client_certificate=True,
            common_tls_context=_common(OPERATOR_NAME, directory),
        ),
    }


def upstream_tls(directory: str = CONFIG_DIRECTORY) -> dict[str, Json]:
    """Transport socket towards the leader's ADS server."""
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(
            "transport_sockets.tls.v3.UpstreamTlsContext",
            sni=LEADER_NAME,
            common_tls_context=_common(LEADER_NAME, directory),
        ),
    }


def secret_files(directory: str, certificates: str) -> dict[str, Json]:
    """By name: they point Envoy at PEM files in `certificates` and have it watch for new ones."""
    watched = {"path": certificates}
    secret = "transport_sockets.tls.v3.Secret"
    return {
        f"{CERTIFICATE}.json": {
            "resources": [
                typed(
                    secret,
                    name=CERTIFICATE,
                    tls_certificate={
                        "certificate_chain": {"filename": f"{certificates}/tls.crt"},
                        "private_key": {"filename": f"{certificates}/tls.key"},
                        "watched_directory": watched,
                    },
                )
            ]
        },
        f"{AUTHORITY}.json": {
            "resources": [
                typed(
                    secret,
                    name=AUTHORITY,
                    validation_context={
                        "trusted_ca": {"filename": f"{certificates}/ca.crt"},
                        "watched_directory": watched,
                    },
                )
            ]
        },
    }


def _common(peer: str, directory: str) -> dict[str, Json]:
    return {
        # Envoy as a client speaks up to 1.2 unless told.
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "tls_certificate_sds_secret_configs": [_source(CERTIFICATE, directory)],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": peer}}]
            },
            "validation_context_sds_secret_config": _source(AUTHORITY, directory),
        },
    }


def _source(name: str, directory: str) -> dict[str, Json]:
    return {
        "name": name,
        "sds_config": {
            "path_config_source": {"path": f"{directory}/{name}.json"},
            "resource_api_version": "V3",
        },
    }
