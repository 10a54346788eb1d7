"""TLS: a certificate that is made here on the spot, or one that the user has. What is wrong with it is said before the
server listens.

The own certificate signs itself, so clients have to be told to trust it: by the file `certificate.pem` in the user's
state folder, or by its fingerprint. It stays the same until it is about to expire, or the server gets another name.
"""

import contextlib
import ipaddress
import os
import socket
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pipeline.errors import ParleyError
from server.state import own_certificate

VALID = timedelta(days=365)
"""How long an own certificate holds; browsers take none that is valid for more than 398 days."""

RENEWED = timedelta(days=14)
"""How long before its end an own certificate is made anew."""

_ALWAYS = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("", "0.0.0.0", "::")
_CLOCKS_DIFFER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the server shows of itself.

    `fingerprint` is the SHA-256 of the certificate, as pairs of hexadecimal digits. `certificate` is a file with what
    a client may trust: given where the certificate is the server's own.
    """

    context: ssl.SSLContext
    fingerprint: str
    certificate: Path | None


def own_identity(host: str) -> Identity:
    """Returns the identity that signs itself, and makes it where there is none that still holds.

    Args:
        host: the address that the server listens on; it becomes one of the certificate's names.

    Raises:
        ParleyError: it cannot be kept.
    """
    public = own_certificate()
    private = public.with_name("key-and-certificate.pem")
    try:
        public.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate = _kept(private, host)
        if certificate is None:
            certificate, pem = _make(host)
            _write(private, pem)
        private.chmod(0o600)
        public_pem = certificate.public_bytes(serialization.Encoding.PEM)
        if not public.is_file() or public.read_bytes() != public_pem:
            _write(public, public_pem)
        return Identity(_context(private, private), _fingerprint(certificate), public)
    except OSError as error:
        raise ParleyError(
            f"The certificate cannot be kept in {public.parent}: {error.strerror or error}. "
            "Make that folder writable, name another with XDG_STATE_HOME, or bring your own with --cert and --key."
        ) from error


def given_identity(cert: Path, key: Path) -> Identity:
    """Returns the identity in files of the user's, both PEM; `cert` may go on with the chain that signed it.

    Raises:
        ParleyError: a file is missing or something else, the key is encrypted or another one's, or the certificate does
            not hold now. Names the option.
    """
    certificate = _read_certificate(cert)
    private = _read_key(key)
    if _public_bytes(private.public_key()) != _public_bytes(certificate.public_key()):
        raise ParleyError(
            f"--key {key} does not belong to --cert {cert}. Name the key that the certificate was made for."
        )
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc <= now:
        raise ParleyError(
            f"--cert {cert} expired on {certificate.not_valid_after_utc:%Y-%m-%d}. Renew it, or use --tls."
        )
    if certificate.not_valid_before_utc > now:
        raise ParleyError(
            f"--cert {cert} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC. "
            "Wait until then, or set this machine's clock."
        )
    return Identity(_context(cert, key), _fingerprint(certificate), None)


def _read(option: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ParleyError(f"{option} {file} cannot be read: {error.strerror or error}. Name a PEM file.") from error


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(_read("--cert", file))[0]
    except ValueError as error:
        raise ParleyError(f"--cert {file} is no certificate in PEM form (-----BEGIN CERTIFICATE-----).") from error


def _read_key(file: Path) -> Any:
    text = _read("--key", file)
    try:
        return serialization.load_pem_private_key(text, None)
    except TypeError as error:
        raise ParleyError(
            f"--key {file} is encrypted with a pass phrase, which a server cannot type. Write it without one: "
            f"openssl pkey -in {file} -out plain.pem"
        ) from error
    except Exception as error:  # its own: unsupported kinds, and what a damaged key leads to
        raise ParleyError(f"--key {file} is no private key in PEM form (-----BEGIN PRIVATE KEY-----).") from error


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password that is never needed: without one OpenSSL would ask for it on the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise ParleyError(
            f"OpenSSL does not take --cert {cert} with --key {key}: {error.reason or error}. "
            "Make them anew, with a key of at least 2048 bits (RSA) or 256 (EC)."
        ) from error
    return context


def _kept(file: Path, host: str) -> x509.Certificate | None:
    """Returns the certificate in an own file if it will do for this host for a while."""
    try:
        text = file.read_bytes()
        certificate = x509.load_pem_x509_certificate(text)
        key: Any = serialization.load_pem_private_key(text, None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, x509.ExtensionNotFound):  # damaged: a new one takes its place
        return None
    now = datetime.now(UTC)
    holds = certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEWED
    whole = _public_bytes(key.public_key()) == _public_bytes(certificate.public_key())
    return certificate if holds and whole and all(name in names for name in _names(host)) else None


def _make(host: str) -> tuple[x509.Certificate, bytes]:
    """Returns a new certificate, and the text of its file: the key, then the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Parley on this machine")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        # No authority: whoever trusts it trusts this server, and nothing that it could sign.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem)
    return certificate, text


def _names(host: str) -> list[x509.GeneralName]:
    """Returns what clients may call a server that listens on `host`."""
    if host in _EVERYWHERE:
        host = socket.gethostname()
    names: list[x509.GeneralName] = []
    for each in dict.fromkeys((*_ALWAYS, host)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(each.partition("%")[0])))
        except ValueError:
            with contextlib.suppress(ValueError):  # a name that is not ASCII, and so none in a certificate
                names.append(x509.DNSName(each))
    return names


def _write(file: Path, content: bytes) -> None:
    """Writes a file that only this user may read, all at once."""
    descriptor, name = tempfile.mkstemp(dir=file.parent)  # 0600
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(content)
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _public_bytes(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, form)
    return encoded


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()
