"""A Kubernetes that takes jobs and tells of them, as a pod within it sees it: over TLS, with a service account."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "token-of-the-service-account"


@dataclass
class KubernetesApi:
    """What was asked of the API at 127.0.0.1:``port``, whose certificate is ``certificate``."""

    certificate: Path
    token: Path
    port: int = 0
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: bool = False
    refused: int = 0

    def answer(self, method: str, path: str, body: Any, token: str) -> tuple[int, Any]:
        if token.lower() != f"bearer {TOKEN}":
            self.refused += 1
            return 403, {}
        found = re.fullmatch(r"/apis/batch/v1/namespaces/backup/jobs(?:/([\w-]+))?(/status)?", path.partition("?")[0])
        if found is None:
            return 200, {"kind": "PodList", "apiVersion": "v1", "items": [], "metadata": {}}
        if method == "POST":
            name = body["metadata"]["name"]
            self.jobs[name], self.statuses[name] = body, {"active": 1}
            return 201, body
        if found[1] not in self.jobs:
            return 404, {"kind": "Status", "code": 404}
        if method == "DELETE":
            del self.jobs[found[1]]
            return 200, {"kind": "Status", "status": "Success"}
        return 200, {**self.jobs[found[1]], "status": self.statuses[found[1]]}


@contextmanager
def a_kubernetes_api(directory: Path) -> Iterator[KubernetesApi]:
    certificate, key = _certificate(directory)
    token = directory / "token"
    token.write_text(TOKEN)
    api = KubernetesApi(certificate, token)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - as the base calls it

        def _handle(self) -> None:
            if api.broken:
                self.close_connection = True  # without a word, as when the control plane is replaced
                return
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(content) if content else None
            status, answer = api.answer(self.command, self.path, body, self.headers.get("Authorization", ""))
            encoded = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - the names that the standard library asks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    api.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = directory / "ca.crt", directory / "tls.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private
