"""Test HTTPS: that of the service itself, and that of nginx with the file of the documentation."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.stacks import ROOT, LocalStack, free_port
from tests.support.waiting import wait_for

CONF = ROOT / "docs" / "examples" / "nginx.conf"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Provide a certificate for localhost, and its key, made as the documentation says."""
    folder = tmp_path_factory.mktemp("tls")
    key, file = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, "-keyout", key, "-out", file], check=True, capture_output=True)
    return file, key


class Stack(LocalStack):
    """A service that is asked over HTTPS."""

    def __init__(self, port: int, folder: Path, certificate: Path, **settings: str) -> None:
        super().__init__(port, folder, **settings)
        self.http.close()
        context = ssl.create_default_context(cafile=str(certificate))
        self.http = httpx.Client(base_url=f"https://localhost:{port}", verify=context, timeout=30)


def test_the_service_speaks_https_and_nothing_else(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    file, key = certificate
    settings = {"TRAINYARD_TLS_CERTIFICATE": str(file), "TRAINYARD_TLS_KEY": str(key), "TRAINYARD_AUTH": "keys"}
    stack = Stack(free_port(), tmp_path, file, **settings)
    try:
        stack.start()
        link = stack.invite("ada", "--role", "admin")
        joined = stack.http.post("/api/v1/invitations/acceptance", json={"token": link.partition("#")[2]})

        assert link.startswith(f"https://127.0.0.1:{stack.port}/ui/join#")
        cookie = joined.headers["Set-Cookie"]
        assert cookie.startswith("__Host-trainyard-session=")
        assert "Secure" in cookie
        assert joined.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert stack.http.get("/ui/").status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{stack.port}/health/live")
    finally:
        stack.stop()
        stack.http.close()


@contextmanager
def run_nginx(folder: Path, port: int, backend: int, certificate: tuple[Path, Path]) -> Iterator[None]:
    """Run nginx with the file of the documentation, with this test's ports and certificate in it."""
    site = CONF.read_text()
    for ours, theirs in (
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("127.0.0.1:8000;", f"127.0.0.1:{backend};"),
        ("/etc/ssl/certs/trainyard.pem", str(certificate[0])),
        ("/etc/ssl/private/trainyard.pem", str(certificate[1])),
    ):
        assert ours in site
        site = site.replace(ours, theirs)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{site}}}\n"
    )
    process = subprocess.Popen(["nginx", "-e", str(folder / "error.log"), "-c", str(conf)])
    try:
        wait_for(lambda: _listens(port), 20)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx: apt-get install nginx-light")
def test_nginx_with_the_file_of_the_documentation(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    backend = LocalStack(free_port(), tmp_path / "data", TRAINYARD_AUTH="keys", TRAINYARD_TRUSTED_PROXIES="127.0.0.1")
    port = free_port()
    context = ssl.create_default_context(cafile=str(certificate[0]))
    try:
        backend.start()
        with (
            run_nginx(tmp_path, port, backend.port, certificate),
            httpx.Client(base_url=f"https://localhost:{port}", verify=context, timeout=30) as http,
        ):
            token = backend.invite("ada", "--role", "admin").partition("#")[2]
            joined = http.post("/api/v1/invitations/acceptance", json={"token": token})
            key = {"Authorization": f"Bearer {joined.json()['key']['key']}"}
            guests = http.post("/api/v1/invitations", json=[{"login": "kim"}], headers=key).json()["invitations"]

            assert joined.headers["Set-Cookie"].startswith("__Host-trainyard-session=")
            assert guests[0]["link"].startswith(f"https://localhost:{port}/ui/join#")
            with http.stream("GET", "/api/v1/events", headers=key) as stream:
                assert next(stream.iter_lines()).startswith(("event:", "id:", ":", "data:"))
            http.cookies.clear()
            assert http.get("/api/v1/me").status_code == 401
    finally:
        backend.stop()
        backend.http.close()
