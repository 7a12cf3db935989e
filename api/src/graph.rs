//! The directory, as far as `az role` and `az ad sp` ask it who somebody is.
//!
//! Promise: principals are found by their client id, object id or name; what else Microsoft Graph has is refused by name,
//! and nothing can be changed here.
//! Not here: making principals (`own::principals`), what they may do (`arm::authorization`).
//! Source: what `az` 2.91 sends and reads (management 2.6: `az role` asks Graph for names).

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::routing::{any, get, post};
use gridpost_grid::principals::{MOST_PRINCIPALS, Principal};
use gridpost_grid::roles::ROOT;
use gridpost_model::Plane;
use http::{StatusCode, request};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::auth::allow;
use crate::auth::bearer::{self, Audience};
use crate::problem::Refusal;
use crate::routes::Routes;
use crate::{Parts, Shared, origin};

/// What reading principals takes, here as on our own REST.
const READ: &str = "Microsoft.Authorization/principals/read";

/// So many ids may be asked for at once: as many as there are principals, and as Graph documents.
const MOST_IDS: usize = MOST_PRINCIPALS;

/// Room for that many ids in quotation marks, and for what stands around them.
const MOST_BODY: usize = MOST_IDS * 64 + 1024;

type Answer = Result<Json<Value>, Refusal>;

/// Everything below `/v1.0`.
pub fn routes() -> Routes {
    Routes::new()
        .route("/v1.0/servicePrincipals", get(list).fallback(refuse))
        .route("/v1.0/servicePrincipals/{id}", get(show).fallback(refuse))
        .route("/v1.0/users", get(users).fallback(refuse))
        .route(
            "/v1.0/directoryObjects/getByIds",
            post(by_ids).fallback(refuse),
        )
        .route("/v1.0/{*below}", any(refuse))
}

async fn list(State(parts): State<Shared>, request: Request) -> Answer {
    let head = request.into_parts().0;
    require(&parts, &head)?;
    let wanted = Wanted::of(head.uri.query())?;
    let found = parts.grid.principals().into_iter();
    Ok(listed(found.filter(|one| wanted.is(one))))
}

async fn show(State(parts): State<Shared>, Path(id): Path<String>, request: Request) -> Answer {
    require(&parts, &request.into_parts().0)?;
    let mut all = parts.grid.principals().into_iter();
    let found = all.find(|one| one.object_id.eq_ignore_ascii_case(&id));
    found.map(|one| Json(shown(&one))).ok_or_else(|| {
        let message = format!(
            "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
        );
        Refusal::new(StatusCode::NOT_FOUND, "Request_ResourceNotFound", message)
    })
}

/// There are none: who signs in with a name and a password is a principal.
async fn users(State(parts): State<Shared>, request: Request) -> Answer {
    require(&parts, &request.into_parts().0)?;
    Ok(listed([].into_iter()))
}

#[derive(Deserialize)]
struct Ids {
    ids: Vec<String>,
}

async fn by_ids(State(parts): State<Shared>, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    require(&parts, &head)?;
    let Ids { ids } = ids_of(body).await?;
    let found = parts.grid.principals().into_iter();
    Ok(listed(found.filter(|one| {
        ids.iter().any(|id| one.object_id.eq_ignore_ascii_case(id))
    })))
}

async fn ids_of(body: Body) -> Result<Ids, Refusal> {
    let Ok(body) = axum::body::to_bytes(body, MOST_BODY).await else {
        return Err(Refusal::too_large(MOST_BODY));
    };
    let asked: Result<Ids, _> = serde_json::from_slice(&body);
    let asked =
        asked.map_err(|error| bad_request(format!("The body is not as expected: {error}")))?;
    if asked.ids.len() > MOST_IDS {
        return Err(bad_request(format!(
            "{} ids are asked for; {MOST_IDS} are allowed.",
            asked.ids.len()
        )));
    }
    Ok(asked)
}

async fn refuse(request: Request) -> Refusal {
    let message = format!(
        "'{} {}' is not supported: of the directory there is what names principals. `gridpost principal` makes and changes them.",
        request.method(),
        request.uri().path()
    );
    Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotSupported", message)
}

fn require(parts: &Parts, head: &request::Parts) -> Result<(), Refusal> {
    let caller = bearer::authenticate(parts, head, Audience::Management)
        .map_err(|why| Refusal::unauthenticated(why, &origin::base_url(parts, head)))?;
    if allow(parts, &caller, Plane::Management, READ, ROOT) {
        return Ok(());
    }
    Err(Refusal::forbidden(&caller, READ, ROOT))
}

/// Which principals a `$filter` wants.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Client(String),
    Name(String),
    NameBegins(String),
}

impl Wanted {
    fn of(query: Option<&str>) -> Result<Self, Refusal> {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let Some((_, filter)) = pairs.find(|(name, _)| name == "$filter") else {
            return Ok(Self::All);
        };
        let filter = filter.trim();
        let quoted = |begin: &str, end: &str| {
            let text = filter.strip_prefix(begin)?.strip_suffix(end)?;
            // A quotation mark within the text is written twice.
            Some(text.replace("''", "'"))
        };
        let wanted = quoted("servicePrincipalNames/any(c:c eq '", "')")
            .or_else(|| quoted("appId eq '", "'"))
            .map(Self::Client)
            .or_else(|| quoted("displayName eq '", "'").map(Self::Name))
            .or_else(|| quoted("startswith(displayName,'", "')").map(Self::NameBegins));
        if let Some(wanted) = wanted {
            return Ok(wanted);
        }
        Err(bad_request(format!(
            "The filter '{filter}' is not supported; there are servicePrincipalNames/any(c:c eq '…'), appId eq '…', displayName eq '…' and startswith(displayName,'…')."
        )))
    }

    fn is(&self, principal: &Principal) -> bool {
        let name = principal.display_name.to_lowercase();
        match self {
            Self::All => true,
            Self::Client(id) => principal.client_id.eq_ignore_ascii_case(id),
            Self::Name(wanted) => name == wanted.to_lowercase(),
            Self::NameBegins(wanted) => name.starts_with(&wanted.to_lowercase()),
        }
    }
}

fn bad_request(message: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "Request_BadRequest", message)
}

fn listed(principals: impl Iterator<Item = Arc<Principal>>) -> Json<Value> {
    let value: Vec<Value> = principals.map(|one| shown(&one)).collect();
    Json(json!({ "value": value }))
}

fn shown(principal: &Principal) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.servicePrincipal",
        "id": principal.object_id, "appId": principal.client_id, "displayName": principal.display_name,
        "servicePrincipalNames": [principal.client_id], "servicePrincipalType": "Application",
        "createdDateTime": principal.created,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_those_that_az_sends() {
        let wanted = |filter: &str| {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("$filter", filter)
                .finish();
            Wanted::of(Some(&query)).ok()
        };
        let table = [
            (
                "servicePrincipalNames/any(c:c eq 'app')",
                Some(Wanted::Client("app".into())),
            ),
            ("appId eq 'app'", Some(Wanted::Client("app".into()))),
            ("displayName eq 'it''s'", Some(Wanted::Name("it's".into()))),
            (
                "startswith(displayName,'c')",
                Some(Wanted::NameBegins("c".into())),
            ),
            ("tags/any(t:t eq 'x')", None),
            ("", None),
        ];
        for (filter, expected) in table {
            assert_eq!(wanted(filter), expected, "{filter}");
        }
        assert_eq!(Wanted::of(None).ok(), Some(Wanted::All));
    }
}
