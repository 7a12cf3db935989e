//! Who may call our own REST.
//!
//! Promise: in the development profile only programs of this machine, and pages served from it, get in without a
//! credential: a foreign page that makes a browser call us names a foreign `Origin`, and one that binds its name to our
//! address names a foreign `Host`; for a picture or a link, which have no `Origin`, browsers say `Sec-Fetch-Site`. In
//! production only a bearer token opens, and to what gives somebody else a way to sign in, in every profile. Whoever
//! presents a token does what its roles allow. What the table in `access` says is noted leaves a row in the audit log, and
//! ends also when its client hangs up.
//! Not here: which address we listen on (`server` keeps the development profile on loopback).

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gridpost_grid::audit::Kind;
use gridpost_model::{Plane, never};
use http::request::Parts as Head;
use http::{HeaderName, StatusCode, header, uri};

use super::PREFIX;
use super::access::{self, Found, Need, Row};
use super::problem::Problem;
use crate::audit::{Correlation, Note, Told};
use crate::auth::bearer::{self, Audience};
use crate::auth::{Principal, allow};
use crate::{Parts, Profile, Shared};

/// How the page that made a browser call is related to us, in the browser's words.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request pass or answers why not. A layer of the routes of our own REST.
pub(super) async fn layer(State(parts): State<Shared>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let caller = match admit(&parts, &head) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    head.extensions.insert(SignedIn(caller.clone()));
    let row = match row_of(&head) {
        Ok(Some(row)) => row,
        Ok(None) => return next.run(Request::from_parts(head, body)).await,
        Err(problem) => return problem.into_response(),
    };
    let Some((action, scope)) = row.need.asked(&parts) else {
        return next.run(Request::from_parts(head, body)).await;
    };
    if let Err(problem) = require_token(&parts, &head, row) {
        return problem.into_response();
    }
    let correlation = Correlation::of(&parts, &head.headers);
    let told = Told {
        kind: Kind::Change,
        action: action.to_owned(),
        scope: row.told(head.uri.path()),
        correlation: correlation.clone(),
        body: Bytes::new(),
    };
    let mut answer = if let Err(problem) = require_role(&parts, caller.as_ref(), action, &scope) {
        let note = Note::of(&head, caller.as_ref(), told);
        refused(&parts, note, problem).await
    } else if row.is_noted {
        noted(&parts, caller.as_ref(), told, (head, body), next).await
    } else {
        next.run(Request::from_parts(head, body)).await
    };
    correlation.show(&mut answer);
    answer
}

/// Makes a change, and writes it down, also when the client hangs up meanwhile.
async fn noted(
    parts: &Shared,
    caller: Option<&Principal>,
    told: Told,
    (head, body): (Head, Body),
    next: Next,
) -> Response {
    let Ok(body) = axum::body::to_bytes(body, NOTED_BODY_LIMIT).await else {
        let message = format!("The body is larger than {NOTED_BODY_LIMIT} bytes or ended early.");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Problem::new(status, "RequestEntityTooLarge", message).into_response();
    };
    let body_told = body.clone();
    let told = Told {
        body: body_told,
        ..told
    };
    let note = Note::of(&head, caller, told);
    let writer = Arc::clone(parts);
    // The body may have been long in coming.
    if let Err(problem) = require_still(parts, &head) {
        return refused(parts, note, problem).await;
    }
    let change = async move {
        let answer = next.run(Request::from_parts(head, Body::from(body))).await;
        note.write(writer, answer.status(), None).await;
        answer
    };
    let seen_through = parts.changes.see_through(change).await;
    seen_through.unwrap_or_else(|| {
        let message = "Something failed on the way; the server's log says what.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message).into_response()
    })
}

/// Looks once more at the caller of a request that was let in: since then its token may have ended, or its principal or
/// its role have been taken away.
///
/// # Errors
/// It would not be let in now.
pub(super) fn require_still(parts: &Parts, head: &Head) -> Result<(), Problem> {
    let caller = admit(parts, head)?;
    let Some(row) = row_of(head)? else {
        return Ok(());
    };
    let Some((action, scope)) = row.need.asked(parts) else {
        return Ok(());
    };
    require_token(parts, head, row)?;
    require_role(parts, caller.as_ref(), action, &scope)
}

/// Whoever presents no token is a program of this machine, in the development profile, and needs no role.
fn require_role(
    parts: &Parts,
    caller: Option<&Principal>,
    action: &str,
    scope: &str,
) -> Result<(), Problem> {
    match caller {
        Some(principal) if !allow(parts, principal, Plane::Management, action, scope) => {
            let message = principal.may_not(action, scope);
            Err(Problem::new(StatusCode::FORBIDDEN, NOT_ALLOWED, message))
        }
        _ => Ok(()),
    }
}

/// Writes down that somebody was refused, and answers so.
async fn refused(parts: &Shared, note: Note, problem: Problem) -> Response {
    let written = note.write(Arc::clone(parts), problem.status(), Some(NOT_ALLOWED));
    parts.changes.see_through(written).await;
    problem.into_response()
}

/// Some routes want a token from programs of this machine, too.
fn require_token(parts: &Parts, head: &Head, row: &Row) -> Result<(), Problem> {
    if !matches!(row.need, Need::SignedInAtRoot(_)) {
        return Ok(());
    }
    let signed_in = bearer::authenticate(parts, head, Audience::Management);
    signed_in
        .map(drop)
        .map_err(|why| Problem::unauthorized(why.to_string()))
}

/// Whose token a request carries; `None` for a caller of this machine. In the extensions of every request that was let
/// in.
#[derive(Clone)]
pub(super) struct SignedIn(pub(super) Option<Principal>);

/// What changes something is at most this long: as much as is read of any other body.
const NOTED_BODY_LIMIT: usize = 2 * 1024 * 1024;

/// The code of what a role refused, as Resource Manager has it.
const NOT_ALLOWED: &str = "AuthorizationFailed";

/// The row of the table of routes; `None` where there is no route, which is answered so.
fn row_of(head: &Head) -> Result<Option<&'static Row>, Problem> {
    let Some(path) = head.extensions.get::<MatchedPath>() else {
        return Ok(None);
    };
    let path = path.as_str().strip_prefix(PREFIX).unwrap_or_default();
    match access::find(path, &head.method) {
        Found::Row(row) => Ok(Some(row)),
        Found::NoMethod => Err(Problem::no_method(&head.method)),
        Found::Nothing => {
            never!("nobody decided who may use {path}");
            Err(Problem::forbidden("Nobody may use this."))
        }
    }
}

/// Decides about a request by its head. Gives back whose token it carries; `None` for a caller of this machine.
///
/// # Errors
/// The caller has to present a token, or may not call from where it is.
fn admit(parts: &Parts, head: &Head) -> Result<Option<Principal>, Problem> {
    match bearer::authenticate(parts, head, Audience::Management) {
        Ok(principal) => return Ok(Some(principal)),
        // Any other token is not meant for us: a webhook may carry one to a sink.
        Err(_) if parts.profile == Profile::Development => (),
        Err(error) => return Err(Problem::unauthorized(error.to_string())),
    }
    require_local(parts, head).map(|()| None)
}

/// Lets programs of this machine pass, and pages served from it.
///
/// # Errors
/// The caller may not call from where it is.
pub(crate) fn require_local(parts: &Parts, head: &Head) -> Result<(), Problem> {
    let is_own_name = |name: &str| is_own_name(parts, name);
    if let Some(foreign) = foreign_host(head, is_own_name) {
        return Err(Problem::forbidden(format!(
            "In the development profile this REST answers local callers only, and '{foreign}' is not a local name. Call it as localhost, or add the name to the configured host names."
        )));
    }
    if let Some(foreign) = foreign_origin(head, is_own_name) {
        return Err(Problem::forbidden(format!(
            "In the development profile this REST answers local pages only, and '{foreign}' is not one."
        )));
    }
    if is_cross_site(head) {
        return Err(Problem::forbidden(
            "In the development profile this REST answers local pages only, and the browser says that another site made it call (Sec-Fetch-Site: cross-site).",
        ));
    }
    Ok(())
}

fn is_own_name(parts: &Parts, name: &str) -> bool {
    let base_url: Option<uri::Uri> = parts.base_url.parse().ok();
    let base_host = base_url.as_ref().and_then(uri::Uri::host);
    let mut all = parts.host_names.iter().map(String::as_str).chain(base_host);
    all.any(|own| without_port(own).eq_ignore_ascii_case(name))
}

/// Whether a host, with or without a port, is this machine or one of the names it was given.
pub(crate) fn is_own_host(parts: &Parts, host: &str) -> bool {
    is_ours(host, |name| is_own_name(parts, name))
}

/// A host that was dialled and is not one of ours. Whoever names several, in the target or in headers, means them all:
/// programs disagree about which of them counts.
fn foreign_host(head: &Head, is_own_name: impl Fn(&str) -> bool) -> Option<String> {
    let in_target = head.uri.authority().map(uri::Authority::as_str);
    let in_headers = head.headers.get_all(header::HOST).iter();
    let mut hosts = in_target
        .into_iter()
        .chain(in_headers.map(|value| value.to_str().unwrap_or_default()))
        .peekable();
    if hosts.peek().is_none() {
        return Some(String::new());
    }
    hosts
        .find(|host| !is_ours(host, &is_own_name))
        .map(str::to_owned)
}

/// The page that made its browser call, unless it is served from here. Of several none may be foreign.
fn foreign_origin(head: &Head, is_own_name: impl Fn(&str) -> bool) -> Option<String> {
    let origins = head.headers.get_all(header::ORIGIN).iter();
    let mut origins = origins.map(|origin| origin.to_str().unwrap_or_default());
    let is_foreign = |origin: &&str| {
        let host = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        !host.is_some_and(|host| is_ours(host, &is_own_name))
    };
    origins.find(is_foreign).map(str::to_owned)
}

/// Whether a browser says that another site made it call. It says so of images and links too, which name no `Origin`.
fn is_cross_site(head: &Head) -> bool {
    let mut sites = head.headers.get_all(FETCH_SITE).iter();
    sites.any(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site"))
}

/// Whether `host`, with or without a port, is this machine.
fn is_ours(host: &str, is_own_name: impl Fn(&str) -> bool) -> bool {
    let name = without_port(host);
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let is_loopback = bare
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback());
    is_loopback || name.eq_ignore_ascii_case("localhost") || is_own_name(name)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        let mut request = http::Request::get("/_gridpost/v1/info");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn own(name: &str) -> bool {
        name.eq_ignore_ascii_case("Gridpost")
    }

    #[test]
    fn only_names_of_this_machine_are_ours() {
        for host in [
            "localhost",
            "localhost:8480",
            "LOCALHOST:8480",
            "127.0.0.1:8480",
            "127.0.0.2",
            "[::1]:8480",
            "[::1]",
            "gridpost:8480",
        ] {
            assert_eq!(foreign_host(&head(&[("host", host)]), own), None, "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "localhost.",
            "127.0.0.1.example.com",
            "10.0.0.1:8480",
            "[::2]",
            "::",
            "localhost:80x",
            "gridpost.example",
        ] {
            assert!(
                foreign_host(&head(&[("host", host)]), own).is_some(),
                "{host}"
            );
        }
    }

    #[test]
    fn issue_3_of_several_hosts_none_may_be_foreign() {
        let of = |hosts: &[&str]| {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            foreign_host(&head(&headers), own)
        };
        assert_eq!(of(&["localhost", "127.0.0.1:8480"]), None);
        let foreign = Some("example.com".to_owned());
        assert_eq!(of(&["localhost", "example.com"]), foreign);
        assert_eq!(of(&["example.com", "localhost"]), foreign);
        assert_eq!(of(&[]), Some(String::new()));
        let mut dialled = head(&[("host", "example.com")]);
        dialled.uri = "http://localhost:8480/_gridpost/v1/info".parse().unwrap();
        assert_eq!(foreign_host(&dialled, own), foreign);
    }

    #[test]
    fn pages_from_elsewhere_are_foreign() {
        let of = |origin| foreign_origin(&head(&[("origin", origin)]), own);
        assert_eq!(foreign_origin(&head(&[]), own), None);
        assert_eq!(of("http://localhost:3000"), None);
        assert_eq!(of("https://127.0.0.1:8480"), None);
        for origin in [
            "https://example.com",
            "null",
            "",
            "http://localhost.example.com",
            "file://localhost",
        ] {
            assert_eq!(of(origin).as_deref(), Some(origin));
        }
        let both = ["http://localhost:3000", "https://example.com"].map(|one| ("origin", one));
        let foreign = foreign_origin(&head(&both), own);
        assert_eq!(foreign.as_deref(), Some("https://example.com"));
    }

    #[test]
    fn a_picture_on_a_page_from_elsewhere_is_foreign() {
        let of = |site| is_cross_site(&head(&[("sec-fetch-site", site)]));
        assert!(of("cross-site"));
        assert!(!is_cross_site(&head(&[])));
        for site in ["none", "same-origin", "same-site"] {
            assert!(!of(site), "{site}");
        }
    }
}
