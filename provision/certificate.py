"""Self-signed certificates, for estates that have no certificate authority of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # cryptography costs 50 ms to import, which only making and checking secrets should pay
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import GeneralName, KeyUsage

LIFETIME = timedelta(days=3650)
EARLY = timedelta(days=2)  # hosts' clocks may be behind ours
ORGANISATION = "Rota"


@dataclass(frozen=True)
class Certificate:
    """What a certificate says of itself: the names it is good for, its end, and whether we made it."""

    names: frozenset[str]
    ends: datetime
    ours: bool

    def is_good_for(self, name: str) -> bool:
        """Whether it names this host, itself or by a wildcard in place of the first label (RFC 6125 section 6.4.3)."""
        return name in self.names or f"*.{name.partition('.')[2]}" in self.names


def make_key() -> str:
    """A new private key (P-256) as PEM."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def make_certificate(key: str, names: Sequence[str], now: datetime) -> str:
    """A certificate as PEM for this private key: good for these names and addresses, from two days before `now`."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID

    private = _private(key)
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64]),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    builder = (
        x509.CertificateBuilder(subject, subject, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - EARLY)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_digital_signature(), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return builder.sign(private, SHA256()).public_bytes(Encoding.PEM).decode()


def inspect(pem: str) -> Certificate:
    """What the first certificate of a PEM text says. Raises ValueError when it is none."""
    from cryptography import x509
    from cryptography.x509.extensions import ExtensionNotFound

    certificate = x509.load_pem_x509_certificate(pem.encode())
    organisations = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        alternatives = frozenset(str(name.value) for name in names)
    except ExtensionNotFound:
        alternatives = frozenset()
    ours = certificate.subject == certificate.issuer and [one.value for one in organisations] == [ORGANISATION]
    return Certificate(alternatives, certificate.not_valid_after_utc.astimezone(UTC), ours)


def belong_together(pem: str, key: str) -> bool:
    """Whether the certificate was made for this private key. Raises ValueError when either cannot be read."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    public = x509.load_pem_x509_certificate(pem.encode()).public_key()
    return bool(public == load_pem_private_key(key.encode(), password=None).public_key())


def _private(key: str) -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = load_pem_private_key(key.encode(), password=None)
    if not isinstance(private, EllipticCurvePrivateKey):
        raise ValueError("the key is of another kind than ours")
    return private


def _general_name(name: str) -> "GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _digital_signature() -> "KeyUsage":
    from cryptography import x509

    others = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(digital_signature=True, **others)
