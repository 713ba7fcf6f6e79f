"""The leader's own certificate authority, and the certificates by which operator and routers know each other.

Kept in Secrets of the release namespace; `keep` is called at every start and once a day.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from slipway.router.tls import LEADER_NAME, OPERATOR_NAME, ROUTER_NAME

AUTHORITY_SECRET = "slipway-ca"
SERVER_SECRET = "slipway-server-tls"
CLIENT_SECRET = "slipway-client-tls"
ROUTER_SECRET = "slipway-router-tls"
"""Mounted by the router's pods; the others are read by the leader alone."""

AUTHORITY_DAYS = 365
AUTHORITY_RENEW_DAYS = 90
"""Days left at which a second authority joins the first. More than LEAF_DAYS: no leaf outlives its issuer."""
AUTHORITY_SETTLE = timedelta(days=1)
"""A new authority signs only after everybody had this long to read the bundle that it is in."""
LEAF_DAYS = 30
LEAF_RENEW_DAYS = 10
SKEW = timedelta(minutes=5)
"""Certificates start this much earlier, for clocks that are behind."""

Data = Mapping[str, bytes]
Load = Callable[[str], Awaitable[Data | None]]
"""A Secret's data by name; None: there is none."""
Save = Callable[[str, Data], Awaitable[None]]


@dataclass(frozen=True)
class Pair:
    """PEM: certificate and key, and the bundle that the peer is checked against."""

    certificate: bytes
    key: bytes
    authorities: bytes


@dataclass(frozen=True)
class Certificates:
    """What the leader works with."""

    server: Pair
    """Of the ADS and progress ports."""
    client: Pair
    """Shown to routers."""

    @property
    def authorities(self) -> bytes:
        """PEM bundle; what job pods trust for the progress port."""
        return self.server.authorities


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


async def keep(load: Load, save: Save, service_names: Iterable[str], now: datetime) -> Certificates:
    """Certificates that are good for at least LEAF_RENEW_DAYS; writes only what had to be made anew.

    `service_names`: DNS names by which pods reach the leader.
    """
    found = await load(AUTHORITY_SECRET)
    authorities = _read_authorities(found, now)
    if not authorities or _left(authorities[-1].certificate, now) < timedelta(days=AUTHORITY_RENEW_DAYS):
        authorities.append(_new_authority(now))
    stored = _authority_data(authorities)
    if stored != found:
        await save(AUTHORITY_SECRET, stored)
    issuer = _issuer(authorities, now)
    bundle = stored["ca.crt"]

    async def leaf(secret: str, names: tuple[str, ...]) -> Pair:
        data = await load(secret)
        wanted = data if data and _is_good(data, issuer, names, now) else _new_leaf(issuer, names, now)
        wanted = {**wanted, "ca.crt": bundle}
        if wanted != data:
            await save(secret, wanted)
        return Pair(wanted["tls.crt"], wanted["tls.key"], bundle)

    server = await leaf(SERVER_SECRET, (LEADER_NAME, *sorted(service_names)))
    client = await leaf(CLIENT_SECRET, (OPERATOR_NAME,))
    await leaf(ROUTER_SECRET, (ROUTER_NAME,))
    return Certificates(server, client)


def load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    """Puts (or puts anew) the certificates into a TLS context; the ssl module reads keys from files only."""
    context.load_verify_locations(cadata=pair.authorities.decode())
    with TemporaryDirectory(prefix="slipway-tls-") as directory:
        path = Path(directory, "pair.pem")
        path.touch(mode=0o600)
        path.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(path)


def _issuer(authorities: list[_Authority], now: datetime) -> _Authority:
    settled = [one for one in authorities if now - one.certificate.not_valid_before_utc >= AUTHORITY_SETTLE]
    return settled[-1] if settled else authorities[0]


def _read_authorities(data: Data | None, now: datetime) -> list[_Authority]:
    """Oldest first, without those that have expired."""
    if data is None:
        return []
    certificates = x509.load_pem_x509_certificates(data["ca.crt"])
    authorities = []
    for index, certificate in enumerate(certificates):
        key = serialization.load_pem_private_key(data[f"ca-{index}.key"], password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(
                f"Secret {AUTHORITY_SECRET}: ca-{index}.key is no EC key; it isn't of Slipway's making. "
                "Delete the Secret and the leader makes a new one."
            )
        if _left(certificate, now) > timedelta(0):
            authorities.append(_Authority(certificate, key))
    return authorities


def _authority_data(authorities: list[_Authority]) -> dict[str, bytes]:
    keys = {f"ca-{index}.key": _pem_key(one.key) for index, one in enumerate(authorities)}
    return {"ca.crt": b"".join(_pem(one.certificate) for one in authorities), **keys}


def _new_authority(now: datetime) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Slipway authority {now:%Y-%m-%d}")])
    certificate = (
        _builder(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Authority(certificate, key)


def _new_leaf(issuer: _Authority, names: tuple[str, ...], now: datetime) -> dict[str, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(subject, issuer.certificate.subject, key, now, LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
        .sign(issuer.key, hashes.SHA256())
    )
    return {"tls.crt": _pem(certificate), "tls.key": _pem_key(key)}


def _is_good(data: Data, issuer: _Authority, names: tuple[str, ...], now: datetime) -> bool:
    certificate = x509.load_pem_x509_certificate(data["tls.crt"])
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if tuple(held.get_values_for_type(x509.DNSName)) != names:
        return False
    try:
        certificate.verify_directly_issued_by(issuer.certificate)
    except (ValueError, InvalidSignature):
        return False
    return _left(certificate, now) >= timedelta(days=LEAF_RENEW_DAYS)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _left(certificate: x509.Certificate, now: datetime) -> timedelta:
    return certificate.not_valid_after_utc - now


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
