//! The documents that lead a client to the token endpoint.
//!
//! Source: reference management 2.

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use serde_json::{Value, json};

use crate::{Parts, Shared, origin, version};

/// The key that verifies tokens.
pub(super) async fn keys(State(parts): State<Shared>) -> Json<Value> {
    Json(parts.tokens.public())
}

/// `az` takes the tenant from the issuer's first path segment, whatever it asked for.
pub(super) fn issuer(parts: &Parts, base: &str) -> String {
    format!("{base}/{}/v2.0", parts.tenant.tenant_id)
}

/// Where a client signs in, below a tenant.
pub(super) async fn discovery(
    State(parts): State<Shared>,
    Path(tenant): Path<String>,
    request: Request,
) -> Json<Value> {
    let head = request.into_parts().0;
    let base = origin::base_url(&parts, &head);
    let issuer = issuer(&parts, &origin::own_base_url(&parts, &head));
    if tenant == "adfs" {
        return Json(adfs_configuration(&base, &issuer));
    }
    let below = format!("{base}/{tenant}");
    Json(json!({
        "token_endpoint": format!("{below}/oauth2/v2.0/token"),
        "authorization_endpoint": format!("{below}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{below}/oauth2/v2.0/devicecode"),
        "issuer": issuer,
        "jwks_uri": format!("{below}/discovery/v2.0/keys"),
    }))
}

/// The same, below `adfs`.
pub(super) async fn discovery_below_adfs(
    State(parts): State<Shared>,
    request: Request,
) -> Json<Value> {
    let head = request.into_parts().0;
    let issuer = issuer(&parts, &origin::own_base_url(&parts, &head));
    Json(adfs_configuration(
        &origin::base_url(&parts, &head),
        &issuer,
    ))
}

fn adfs_configuration(base: &str, issuer: &str) -> Value {
    json!({
        "token_endpoint": format!("{base}/adfs/oauth2/token"),
        "authorization_endpoint": format!("{base}/adfs/oauth2/authorize"),
        "device_authorization_endpoint": format!("{base}/adfs/oauth2/devicecode"),
        "issuer": issuer,
        "jwks_uri": format!("{base}/adfs/discovery/keys"),
    })
}

/// One object for current clients, an array of one for those that ask with the version of 2019.
pub(super) async fn endpoints(
    State(parts): State<Shared>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Json<Value> {
    let base = origin::base_url(&parts, &request.into_parts().0);
    let slashed = format!("{base}/");
    let cloud = json!({
        "name": "Gridpost", "portal": format!("{base}/portal"),
        "authentication": {
            "loginEndpoint": format!("{base}/adfs"), "audiences": [base],
            "tenant": parts.tenant.tenant_id, "identityProvider": "ADFS",
        },
        "graphAudience": slashed, "graph": slashed, "microsoftGraphResourceId": base, "resourceManager": slashed,
        "gallery": slashed, "batch": slashed, "media": slashed,
        "suffixes": {"storage": "localhost", "keyVaultDns": ".vault.localhost"},
    });
    let asks_for_list = version::api_version(query.as_deref()).is_none_or(|v| v < "2022-09-01");
    Json(if asks_for_list { json!([cloud]) } else { cloud })
}

/// What kind of account a user has, which MSAL asks on port 443 only: one whose password is checked here.
pub(super) async fn realm() -> Json<Value> {
    Json(json!({"ver": "1.0", "account_type": "Managed", "domain_name": "localhost"}))
}
