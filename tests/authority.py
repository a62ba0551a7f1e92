"""A certificate authority of the tests' own, that signs as public ones do: through an intermediate."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate with its chain, and its key, as PEM; beside them the root that vouches for it."""

    chain: str
    key: str
    root: str

    @property
    def leaf(self) -> str:
        return self.chain.partition("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n"


def issue(*names: str) -> Issued:
    """A new authority's certificate for these names and addresses."""
    root_key, middle_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = sign("the root", root_key, "the root", root_key, is_authority=True)
    middle = sign("the intermediate", middle_key, "the root", root_key, is_authority=True)
    leaf = sign(names[0], key, "the intermediate", middle_key, names=names)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Issued(pem(leaf) + pem(middle), private, pem(root))


def sign(
    subject: str, key: Key, issuer: str, issuer_key: Key, *, is_authority: bool = False, names: tuple[str, ...] = ()
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(named(issuer), named(subject), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([general(name) for name in names]), critical=False)
    return builder.sign(issuer_key, SHA256())


def named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
