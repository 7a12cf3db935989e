"""The identity client, asynchronous: it writes the user's id into the path without escapes."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from azure.communication.identity import CommunicationTokenScope
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.identity.aio import EnvironmentCredential

from conftest import Server
from test_identity import minutes_left, said

CHAT = CommunicationTokenScope.CHAT


@pytest.mark.parametrize("by", ["connection string", "key credential", "entra"])
async def test_a_user_is_made_given_tokens_and_deleted(by: str, server: Server) -> None:
    async with EnvironmentCredential() as credential:
        if by == "connection string":
            identity = CommunicationIdentityClient.from_connection_string(server.connection_string)
        elif by == "key credential":
            identity = CommunicationIdentityClient(server.endpoint, AzureKeyCredential(server.key))
        else:
            identity = CommunicationIdentityClient(server.endpoint, credential)
        async with identity:
            bare = await identity.create_user()
            user, first = await identity.create_user_and_token(
                [CHAT], token_expires_in=timedelta(hours=2)
            )
            assert bare.raw_id != user.raw_id
            assert 118 < minutes_left(first.expires_on) <= 120

            await identity.revoke_tokens(user)
            second = await identity.get_token(user, [CHAT])
            assert first.token != second.token
            assert f"8:{said(second.token)['skypeid']}" == user.raw_id

            await identity.delete_user(user)
            with pytest.raises(ResourceNotFoundError):
                await identity.get_token(user, [CHAT])


async def test_the_token_of_a_teams_user_is_exchanged(server: Server) -> None:
    client = os.environ["AZURE_CLIENT_ID"]
    async with EnvironmentCredential() as credential:
        entra = await credential.get_token("https://auth.msft.communication.azure.com/.default")
        async with CommunicationIdentityClient.from_connection_string(
            server.connection_string
        ) as identity:
            issued = await identity.get_token_for_teams_user(entra.token, client, client)
    assert said(issued.token)["skypeid"] == f"orgid:{client}"


async def test_a_wrong_key_is_an_authentication_error(server: Server) -> None:
    stranger = CommunicationIdentityClient(
        server.endpoint, AzureKeyCredential("c29tZWJvZHkgZWxzZSdzIGtleQ==")
    )
    async with stranger:
        with pytest.raises(ClientAuthenticationError):
            await stranger.create_user()
