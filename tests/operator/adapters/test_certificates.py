"""Certificates: made once, renewed in time, and trusted all the way."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509 import verification

from envoys import Secrets
from slipway.adapters import certificates
from slipway.adapters.certificates import AUTHORITY_SECRET, CLIENT_SECRET, ROUTER_SECRET, SERVER_SECRET, Pair
from slipway.router.tls import LEADER_NAME, OPERATOR_NAME

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
NAMES = ("slipway-operator.slipway.svc", "slipway-operator.slipway.svc.cluster.local")
ALL = [AUTHORITY_SECRET, SERVER_SECRET, CLIENT_SECRET, ROUTER_SECRET]


def keep(secrets: Secrets, days: float, names: tuple[str, ...] = NAMES) -> certificates.Certificates:
    now = NOW + timedelta(days=days)
    return asyncio.run(certificates.keep(secrets.load, secrets.save, names, now))


def accepts(pair: Pair, trusted: bytes, name: str, days: float) -> bool:
    store = verification.Store(x509.load_pem_x509_certificates(trusted))
    builder = verification.PolicyBuilder().store(store).time(NOW + timedelta(days=days))
    try:
        builder.build_server_verifier(x509.DNSName(name)).verify(
            x509.load_pem_x509_certificate(pair.certificate), []
        )
    except verification.VerificationError:
        return False
    return True


def test_all_are_made_once_and_an_unchanged_day_writes_nothing() -> None:
    secrets = Secrets()
    first = keep(secrets, 0)
    assert secrets.saves == ALL
    assert keep(secrets, 1) == first
    assert secrets.saves == ALL


def test_each_is_good_for_its_names_only() -> None:
    kept = keep(Secrets(), 0)
    for name in (LEADER_NAME, *NAMES):
        assert accepts(kept.server, kept.authorities, name, 0)
    assert not accepts(kept.server, kept.authorities, OPERATOR_NAME, 0)
    assert accepts(kept.client, kept.authorities, OPERATOR_NAME, 0)
    assert not accepts(kept.client, kept.authorities, LEADER_NAME, 0)


def test_leaves_are_renewed_before_they_end_and_the_authority_stays() -> None:
    secrets = Secrets()
    first = keep(secrets, 0)
    second = keep(secrets, 21)
    assert secrets.saves == [*ALL, SERVER_SECRET, CLIENT_SECRET, ROUTER_SECRET]
    assert second.authorities == first.authorities
    assert accepts(second.server, first.authorities, LEADER_NAME, 40)


def test_other_service_names_make_a_new_server_certificate_alone() -> None:
    secrets = Secrets()
    keep(secrets, 0)
    kept = keep(secrets, 0, ("operator.other.svc",))
    assert secrets.saves == [*ALL, SERVER_SECRET]
    assert accepts(kept.server, kept.authorities, "operator.other.svc", 0)


def test_every_day_of_three_years_what_was_read_yesterday_trusts_what_is_shown_today() -> None:
    secrets = Secrets()
    bundle = keep(secrets, 0).authorities
    seen = {bundle}
    for day in range(1, 3 * 365):
        kept = keep(secrets, day)
        assert accepts(kept.server, bundle, LEADER_NAME, day), day
        bundle = kept.authorities
        seen.add(bundle)
    assert len(seen) > 3, "the authority was renewed"
    assert len(x509.load_pem_x509_certificates(bundle)) <= 2, "old ones go"


def test_a_secret_that_is_not_ours_is_named() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    secrets = Secrets()
    keep(secrets, 0)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    secrets.held[AUTHORITY_SECRET]["ca-0.key"] = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match=r"slipway-ca: ca-0\.key is no EC key.*Delete the Secret"):
        keep(secrets, 0)
