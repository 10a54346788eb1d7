"""The certificate: made once and kept while it holds; and what is wrong with one that is brought is said in a line."""

import contextlib
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pipeline.errors import ParleyError
from server import tls
from server.tls import Identity, given_identity, own_identity

PEM = serialization.Encoding.PEM
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "parley" / "tls"


def shake_hands(identity: Identity, name: str, trusted: Path | None) -> ssl.SSLObject:
    """Lets a client that trusts a certificate meet the server under a name; returns the client's end."""
    context = ssl.create_default_context(cafile=None if trusted is None else str(trusted))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    ends = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
    client = context.wrap_bio(*ends[0], server_hostname=name)
    server = identity.context.wrap_bio(*ends[1], server_side=True)
    for _ in range(4):
        for end, (_, sent), (received, _) in ((client, ends[0], ends[1]), (server, ends[1], ends[0])):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            received.write(sent.read())
    client.do_handshake()
    return client


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "192.0.2.7"])
def test_whoever_trusts_the_own_certificate_reaches_the_server_by_its_names(name: str) -> None:
    identity = own_identity("192.0.2.7")
    assert identity.certificate is not None
    assert shake_hands(identity, name, identity.certificate).version() == "TLSv1.3"


def test_whoever_does_not_trust_it_or_means_another_server_is_warned() -> None:
    identity = own_identity("localhost")
    for name, trusted in (("localhost", None), ("other.example", identity.certificate)):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(identity, name, trusted)


def test_it_is_kept_and_read_by_this_user_alone(state: Path) -> None:
    first = own_identity("127.0.0.1")
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {0o600}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    (state / "key-and-certificate.pem").chmod(0o644)
    assert own_identity("localhost").fingerprint == first.fingerprint
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {0o600}
    assert b"PRIVATE" not in (state / "certificate.pem").read_bytes()


def test_its_fingerprint_is_the_sha_256_of_the_certificate(state: Path) -> None:
    identity = own_identity("127.0.0.1")
    der = ssl.PEM_cert_to_DER_cert((state / "certificate.pem").read_text())
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    assert identity.fingerprint == digest.finalize().hex(":").upper()


def test_another_host_gets_another_certificate() -> None:
    first = own_identity("127.0.0.1")
    second = own_identity("parley.example")
    assert first.fingerprint != second.fingerprint
    assert second.certificate is not None
    shake_hands(second, "parley.example", second.certificate)


def test_a_server_that_listens_everywhere_has_the_name_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls.socket, "gethostname", lambda: "workshop")
    identity = own_identity("0.0.0.0")
    shake_hands(identity, "workshop", identity.certificate)


@pytest.mark.parametrize("left", [timedelta(days=13), -timedelta(days=1)])
def test_one_that_ends_soon_is_made_anew(monkeypatch: pytest.MonkeyPatch, left: timedelta) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(tls, "VALID", left)
        patched.setattr(tls, "_CLOCKS_DIFFER", timedelta(days=30))
        first = own_identity("127.0.0.1")
    second = own_identity("127.0.0.1")
    assert first.fingerprint != second.fingerprint
    assert own_identity("127.0.0.1").fingerprint == second.fingerprint


@pytest.mark.parametrize(
    "damage", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
@pytest.mark.parametrize("name", ["key-and-certificate.pem", "certificate.pem"])
def test_a_damaged_file_is_made_anew(state: Path, damage: bytes, name: str) -> None:
    own_identity("127.0.0.1")
    (state / name).write_bytes(damage)
    identity = own_identity("127.0.0.1")
    shake_hands(identity, "127.0.0.1", identity.certificate)


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(ParleyError, match=r"file/parley/tls.*--cert and --key"):
        own_identity("127.0.0.1")


# --- one that is brought ---


class Files:
    """A certificate and its key, as an authority may have made them."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.private: Any = ec.generate_private_key(ec.SECP256R1())
        self.certify()
        self.keep()

    def certify(self, begins: datetime = NOW - timedelta(days=1), ends: datetime = NOW + timedelta(days=1)) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.private.public_key())
        builder = builder.serial_number(1).not_valid_before(begins).not_valid_after(ends)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        signed = builder.add_extension(names, critical=False).sign(self.private, hashes.SHA256())
        self.cert.write_bytes(signed.public_bytes(PEM))

    def keep(self, encryption: Any = None) -> None:
        encryption = encryption or serialization.NoEncryption()
        self.key.write_bytes(self.private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_one_that_is_brought_is_shown(files: Files) -> None:
    identity = given_identity(files.cert, files.key)
    assert identity.certificate is None
    shake_hands(identity, "localhost", files.cert)


def encrypt(files: Files) -> None:
    files.keep(serialization.BestAvailableEncryption(b"secret"))


def swap_key(files: Files) -> None:
    files.private = ec.generate_private_key(ec.SECP256R1())
    files.keep()


def use_weak_key(files: Files) -> None:
    files.private = rsa.generate_private_key(65537, 1024)
    files.certify()
    files.keep()


FAULTS: list[tuple[Callable[[Files], object], str, str]] = [
    (lambda files: files.cert.unlink(), "--cert", "No such file"),
    (lambda files: files.key.unlink(), "--key", "No such file"),
    (lambda files: files.cert.write_text("nonsense"), "--cert", "no certificate in PEM form"),
    (lambda files: files.cert.write_bytes(files.key.read_bytes()), "--cert", "no certificate in PEM form"),
    (lambda files: files.key.write_text("nonsense"), "--key", "no private key in PEM form"),
    (lambda files: files.key.write_bytes(files.key.read_bytes()[:60]), "--key", "no private key in PEM form"),
    (lambda files: files.key.write_bytes(files.cert.read_bytes()), "--key", "no private key in PEM form"),
    (encrypt, "--key", "openssl pkey -in"),
    (swap_key, "--key", "does not belong to --cert"),
    (lambda files: files.certify(ends=NOW - timedelta(hours=1)), "--cert", "expired on"),
    (lambda files: files.certify(begins=NOW + timedelta(hours=1)), "--cert", "not valid before"),
    (use_weak_key, "--cert", "2048 bits"),
]


@pytest.mark.parametrize(("fault", "option", "said"), FAULTS)
def test_what_is_wrong_with_it_is_said_in_one_line(
    files: Files, fault: Callable[[Files], object], option: str, said: str
) -> None:
    fault(files)
    with pytest.raises(ParleyError) as refused:
        given_identity(files.cert, files.key)
    assert option in str(refused.value)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
