//! What a client needs to know to begin.

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;

use crate::origin;
use crate::{Profile, Shared};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Info {
    product: &'static str,
    version: &'static str,
    profile: &'static str,
    /// How the caller reached us.
    base_url: String,
    tenant_id: String,
    subscription_id: String,
    communication_services: Vec<Service>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    id: String,
    host_name: String,
    event_shape: &'static str,
    numbers: Vec<String>,
}

/// Addresses and resources; no keys.
pub(super) async fn info(State(parts): State<Shared>, request: Request) -> Json<Info> {
    let (head, _) = request.into_parts();
    let services = parts.comms.all_resources();
    Json(Info {
        product: "gridpost",
        version: env!("CARGO_PKG_VERSION"),
        profile: match parts.profile {
            Profile::Development => "development",
            Profile::Production => "production",
        },
        base_url: origin::base_url(&parts, &head),
        tenant_id: parts.tenant.tenant_id.clone(),
        subscription_id: parts.tenant.subscription_id.clone(),
        communication_services: services
            .iter()
            .map(|service| Service {
                id: service.id.as_str().to_owned(),
                host_name: service.host_name.clone(),
                event_shape: service.event_shape().tag(),
                numbers: parts
                    .comms
                    .numbers_of(&service.id)
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            })
            .collect(),
    })
}
