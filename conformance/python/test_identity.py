"""The identity client, synchronous: users, tokens, scopes, lifetimes, revocation, Teams users, refusals."""

from __future__ import annotations

import base64
import json
import os
from datetime import datetime, timedelta, timezone

import pytest
from azure.communication.identity import (
    CommunicationIdentityClient,
    CommunicationTokenScope,
    CommunicationUserIdentifier,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.identity import EnvironmentCredential

from conftest import Server

CHAT, VOIP = CommunicationTokenScope.CHAT, CommunicationTokenScope.VOIP


@pytest.fixture(params=["connection string", "key credential", "entra"])
def identity(
    request: pytest.FixtureRequest, server: Server, credential: EnvironmentCredential
) -> CommunicationIdentityClient:
    if request.param == "connection string":
        return CommunicationIdentityClient.from_connection_string(server.connection_string)
    if request.param == "key credential":
        return CommunicationIdentityClient(server.endpoint, AzureKeyCredential(server.key))
    return CommunicationIdentityClient(server.endpoint, credential)


def said(token: str) -> dict[str, object]:
    """What a token says, read as the Python clients read it: with the standard alphabet of base64."""
    payload = token.split(".")[1]
    return json.loads(base64.b64decode(payload + "==", validate=False).decode("ascii"))


def minutes_left(expires_on: str) -> float:
    end = datetime.fromisoformat(expires_on.replace("Z", "+00:00"))
    return (end - datetime.now(timezone.utc)) / timedelta(minutes=1)


def test_a_user_is_made_given_tokens_and_deleted(identity: CommunicationIdentityClient) -> None:
    user = identity.create_user()
    assert user.raw_id == user.properties["id"]
    assert user.raw_id.startswith("8:acs:")

    issued = identity.get_token(user, [CHAT, VOIP])
    assert 1438 < minutes_left(issued.expires_on) <= 1440
    claims = said(issued.token)
    assert f"8:{claims['skypeid']}" == user.raw_id
    assert set(str(claims["acsScope"]).split(",")) == {"chat", "voip"}

    identity.revoke_tokens(user)
    assert identity.get_token(user, [CHAT]).token != issued.token
    identity.delete_user(user)
    with pytest.raises(ResourceNotFoundError) as refused:
        identity.get_token(user, [CHAT])
    assert refused.value.error.code == "IdentityNotFound"


def test_a_user_comes_with_a_token_of_the_lifetime_that_was_asked_for(
    identity: CommunicationIdentityClient,
) -> None:
    user, issued = identity.create_user_and_token([CHAT], token_expires_in=timedelta(hours=1))
    assert 58 < minutes_left(issued.expires_on) <= 60
    assert f"8:{said(issued.token)['skypeid']}" == user.raw_id


@pytest.mark.parametrize("lifetime", [timedelta(minutes=59), timedelta(minutes=1441)])
def test_a_lifetime_out_of_bounds_is_refused(
    identity: CommunicationIdentityClient, lifetime: timedelta
) -> None:
    with pytest.raises(HttpResponseError) as refused:
        identity.create_user_and_token([CHAT], token_expires_in=lifetime)
    assert refused.value.status_code == 400


@pytest.mark.parametrize("scopes", [[], ["talk"]])
def test_scopes_that_do_not_exist_are_refused(
    identity: CommunicationIdentityClient, scopes: list[str]
) -> None:
    user = identity.create_user()
    with pytest.raises(HttpResponseError) as refused:
        identity.get_token(user, scopes)
    assert refused.value.status_code == 400


def test_a_user_of_another_resource_is_refused(identity: CommunicationIdentityClient) -> None:
    stranger = CommunicationUserIdentifier(
        "8:acs:00000000-0000-4000-8000-000000000000_00000005-3e0d-e5aa-0e04-343a0d00037c"
    )
    with pytest.raises(HttpResponseError) as refused:
        identity.get_token(stranger, [CHAT])
    assert refused.value.status_code == 403


def test_a_wrong_key_is_an_authentication_error(server: Server) -> None:
    stranger = CommunicationIdentityClient(
        server.endpoint, AzureKeyCredential("c29tZWJvZHkgZWxzZSdzIGtleQ==")
    )
    with pytest.raises(ClientAuthenticationError):
        stranger.create_user()


@pytest.mark.parametrize("version", ["2021-03-07", "2022-06-01", "2022-10-01"])
def test_older_versions_are_spoken(server: Server, version: str) -> None:
    identity = CommunicationIdentityClient.from_connection_string(
        server.connection_string, api_version=version
    )
    assert identity.create_user_and_token([VOIP])[1].token


def test_the_token_of_a_teams_user_is_exchanged(
    identity: CommunicationIdentityClient, credential: EnvironmentCredential
) -> None:
    entra = credential.get_token("https://auth.msft.communication.azure.com/.default").token
    client = os.environ["AZURE_CLIENT_ID"]
    issued = identity.get_token_for_teams_user(entra, client, client)
    assert said(issued.token)["skypeid"] == f"orgid:{client}"
    with pytest.raises(HttpResponseError) as refused:
        identity.get_token_for_teams_user(entra, client, "00000000-0000-4000-8000-000000000000")
    assert refused.value.status_code == 400
    with pytest.raises(ClientAuthenticationError):
        identity.get_token_for_teams_user("nonsense", client, client)
