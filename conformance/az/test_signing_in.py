"""Every way of signing in that reference management 1.3 lists as working. After each, a call is made with the token."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from ssl import create_default_context

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from conftest import AZ, PATIENCE_SECONDS, Az, Server

PRINCIPAL = ["login", "--service-principal"]


def works(az: Az, server: Server) -> None:
    assert az("group", "exists", "-n", server.group) is True


def test_a_wrong_secret_does_not_sign_in(signed_out: Az, server: Server) -> None:
    said = signed_out.refused(*PRINCIPAL, "-u", server.client_id, "-p", "wrong", "--tenant", server.tenant)
    assert "AADSTS7000215" in said
    assert "az login" in signed_out.refused("group", "list")


@pytest.mark.parametrize("tenant", ["11111111-1111-4111-8111-111111111111", "localhost"])
def test_a_secret_signs_in_to_a_tenant_by_id_and_by_name(signed_out: Az, server: Server, tenant: str) -> None:
    signed_out(*PRINCIPAL, "-u", server.client_id, "-p", server.client_secret, "--tenant", tenant)
    works(signed_out, server)


def register(az: Az, server: Server, name: str, credential: object) -> None:
    """Registers a credential of the development client, as somebody who is signed in may."""
    url = f"{server.url}/_gridpost/v1/principals/{server.client_id}/credentials/{name}"
    az("rest", "--method", "put", "--url", url, "--body", json.dumps(credential))


@pytest.mark.gate
def test_a_certificate_signs_in(az: Az, signed_out: Az, server: Server, tmp_path: Path) -> None:
    key, pem = certificate()
    file = tmp_path / "app.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + pem)
    sign_in = [*PRINCIPAL, "-u", server.client_id, "--certificate", str(file), "--tenant", server.tenant]
    assert "AADSTS700027" in signed_out.refused(*sign_in)
    register(az, server, "by-az", {"certificate": pem.decode()})
    signed_out(*sign_in)
    works(signed_out, server)


def certificate() -> tuple[rsa.RSAPrivateKey, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return key, made.public_bytes(serialization.Encoding.PEM)


@pytest.mark.gate
def test_a_token_of_another_issuer_signs_in(az: Az, signed_out: Az, server: Server) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    trusted = {"issuer": "https://ci.example", "subject": "repo:shop", "keys": {"keys": [public | {"kid": "k1"}]}}
    register(az, server, "ci", trusted)
    claims = {
        "iss": "https://ci.example",
        "sub": "repo:shop",
        "aud": "api://AzureADTokenExchange",
        "exp": int(time.time()) + 600,
    }

    def sign_in(claims: dict[str, object]) -> list[str]:
        token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "k1"})
        return [*PRINCIPAL, "-u", server.client_id, "--federated-token", token, "--tenant", server.tenant]

    assert "AADSTS700213" in signed_out.refused(*sign_in(claims | {"sub": "repo:other"}))
    signed_out(*sign_in(claims))
    works(signed_out, server)


@pytest.mark.gate
def test_a_name_and_a_password_sign_in(signed_out: Az, server: Server) -> None:
    assert "AADSTS50126" in signed_out.refused("login", "-u", "admin@localhost", "-p", "wrong")
    [account] = signed_out("login", "-u", "admin@localhost", "-p", server.client_secret)
    assert account["user"] == {"name": "admin@localhost", "type": "user"}
    works(signed_out, server)


def test_a_device_code_signs_in(signed_out: Az, server: Server) -> None:
    waiting = subprocess.Popen(
        [AZ, "login", "--use-device-code", "--output", "json"],
        env=signed_out.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    while "enter the code" not in said:
        line = waiting.stderr.readline()
        assert line, f"az ended: {said}"
        said += line
    code = re.search(r"enter the code ([A-Z]{4}-[A-Z]{4})", said)[1]
    form = {"user_code": code, "username": "admin", "password": server.client_secret}
    request = urllib.request.Request(
        f"{server.url}/devicelogin", data=urllib.parse.urlencode(form).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=30, context=create_default_context()) as answer:
        assert answer.status == 200
    printed, complained = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert waiting.returncode == 0, complained
    assert json.loads(printed)[0]["id"] == server.subscription_id
    works(signed_out, server)


@pytest.mark.parametrize("kind", ["service", "machine"])
def test_a_managed_identity_signs_in(server: Server, tmp_path: Path, kind: str) -> None:
    variables = {
        "service": {"IDENTITY_ENDPOINT": f"{server.url}/msi/token", "IDENTITY_HEADER": server.client_secret},
        "machine": {"AZURE_POD_IDENTITY_AUTHORITY_HOST": server.url},
    }
    az = Az(tmp_path / "az", **variables[kind])
    [account] = az("login", "--identity")
    assert account["user"]["name"] == "systemAssignedIdentity"
    works(az, server)


def test_a_cloud_can_be_registered_instead(server: Server, tmp_path: Path) -> None:
    az = Az(tmp_path / "az")
    del az.environment["ARM_CLOUD_METADATA_URL"]
    az("cloud", "register", "-n", "Local", "--endpoint-resource-manager", server.url)
    az("cloud", "set", "-n", "Local")
    shown = az("cloud", "show", "-n", "Local")
    assert shown["endpoints"]["activeDirectory"] == f"{server.url}/adfs"
    az(*PRINCIPAL, "-u", server.client_id, "-p", server.client_secret, "--tenant", server.tenant)
    works(az, server)


def test_a_cloud_with_an_authority_of_the_other_style_works(server: Server, tmp_path: Path) -> None:
    az = Az(tmp_path / "az", AZURE_CORE_INSTANCE_DISCOVERY="false")
    del az.environment["ARM_CLOUD_METADATA_URL"]
    az(
        *["cloud", "register", "-n", "Local", "--skip-endpoint-discovery"],
        *["--endpoint-resource-manager", server.url, "--endpoint-active-directory", server.url],
        *["--endpoint-active-directory-resource-id", server.url],
    )
    az("cloud", "set", "-n", "Local")
    tenant = "11111111-1111-4111-8111-111111111111"
    az(*PRINCIPAL, "-u", server.client_id, "-p", server.client_secret, "--tenant", tenant)
    works(az, server)
