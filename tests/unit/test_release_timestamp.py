"""Time stamps (RFC 3161) from an authority on this machine: openssl behind a small HTTP server."""

import io
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from packshot.core.errors import PackshotError
from packshot.images.picture import Operation, ProductImage
from packshot.release.door import release
from packshot.release.manifest import read_manifest
from packshot.release.register import read_audit

CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
certs = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""


def certificate(name: str, issuer: str, key: rsa.RSAPrivateKey, issuer_key: rsa.RSAPrivateKey) -> bytes:
    root, now = name == issuer, datetime.now(UTC)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    usage = x509.KeyUsage(not root, False, False, False, False, root, root, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(root, None), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
    )
    if not root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """Its address, and the length of each request that came."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path / "tsa"
    folder.mkdir()
    (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder))
    (folder / "serial").write_text("01\n")
    root, leaf = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    chain = certificate("authority", "root", leaf, root) + certificate("root", "root", root, root)
    (folder / "tsa.pem").write_bytes(chain)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tsa.key").write_bytes(leaf.private_bytes(*form))
    asked: list[int] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(len(query))
            (folder / "query").write_bytes(query)
            words = ["openssl", "ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", folder / "query"]
            done = subprocess.run([*words, "-out", folder / "reply"], capture_output=True)
            assert done.returncode == 0, done.stderr
            body = (folder / "reply").read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PACKSHOT_TSA", raising=False)


def sample() -> ProductImage:
    pixels = np.arange(40 * 30 * 3, dtype=np.uint32).reshape(40, 30, 3) % 251
    return ProductImage(pixels.astype(np.uint8), history=(Operation("sample", "generated", {"model": "vae"}),))


def test_the_manifest_holds_the_authoritys_time(
    authority: tuple[str, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = authority
    plain = read_manifest(release(sample(), tmp_path / "plain.png").path.read_bytes(), "image/png")
    assert plain is not None and plain.time is None and asked == []
    monkeypatch.setenv("PACKSHOT_TSA", address)
    path = release(sample(), tmp_path / "stamped.png").path
    assert len(asked) == 1
    found = read_manifest(path.read_bytes(), "image/png")
    assert found is not None and found.trust != "invalid" and found.time is not None
    with c2pa.Reader("image/png", io.BytesIO(path.read_bytes())) as reader:
        report = json.loads(reader.json())
    results = report["validation_results"]["activeManifest"]
    codes = {r["code"] for group in ("success", "informational") for r in results.get(group, [])}
    assert any(code.startswith("timeStamp.") for code in codes), codes


def test_an_authority_that_does_not_answer_stops_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_TSA", "http://127.0.0.1:9")
    with pytest.raises(PackshotError, match=r"could not be signed.*time stamp authority"):
        release(sample(), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists() and list(read_audit()) == []
