//! What each call of our own REST needs: the one table of its routes.
//!
//! Promise: a route that no row names is refused to everybody.
//! Not here: who is let in at all (`guard`), what roles allow (`model::role`).

use http::Method;

use super::PREFIX;
use crate::Parts;

/// One route.
pub(super) struct Row {
    /// The path as it was given to the router.
    path: &'static str,
    methods: &'static str,
    pub(super) need: Need,
    /// Whether it is written into the audit log.
    pub(super) is_noted: bool,
}

/// Who may call, of those who present a token.
#[derive(Clone, Copy)]
pub(super) enum Need {
    /// Whoever holds a role that allows this in the subscription: our own REST speaks of everything in it.
    Role(&'static str),
    /// The same, everywhere: it is about who may do what.
    RoleAtRoot(&'static str),
    /// The same, and a token in every profile: it is about how somebody else signs in.
    SignedInAtRoot(&'static str),
    /// Anybody: a webhook is received, and what it carries is for its receiver to judge.
    Nothing,
}

use Need::{Nothing, Role, RoleAtRoot, SignedInAtRoot};

/// To read the audit log.
pub(super) const READ_AUDIT: &str = "Gridpost/audit/read";
const READ_PRINCIPALS: &str = "Microsoft.Authorization/principals/read";
const WRITE_PRINCIPALS: &str = "Microsoft.Authorization/principals/write";

const fn read(path: &'static str, action: &'static str) -> Row {
    Row {
        path,
        methods: "GET HEAD",
        need: Role(action),
        is_noted: false,
    }
}

const fn change(path: &'static str, methods: &'static str, need: Need) -> Row {
    Row {
        path,
        methods,
        need,
        is_noted: true,
    }
}

/// It is used all the time, and changes nothing that anybody would ask about later.
const fn unnoted(path: &'static str, methods: &'static str, need: Need) -> Row {
    Row {
        path,
        methods,
        need,
        is_noted: false,
    }
}

/// Every route. A new one needs a row here, and one in the table of the test that walks through them all.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    read("/audit", READ_AUDIT),
    read("/clock", "Gridpost/clock/read"),
    change("/clock/advance", "POST", Role("Gridpost/clock/advance/action")),
    read("/dead-letters", "Gridpost/deadLetters/read"),
    change("/dead-letters", "DELETE", Role("Gridpost/deadLetters/delete")),
    change("/dead-letters:redrive", "POST", Role("Gridpost/deadLetters/redrive/action")),
    read("/events", "Gridpost/events/read"),
    read("/events/wait", "Gridpost/events/read"),
    read("/events/{*below}", "Gridpost/events/read"),
    read("/faults", "Gridpost/faults/read"),
    read("/faults/{name}", "Gridpost/faults/read"),
    change("/faults/{name}", "PUT", Role("Gridpost/faults/write")),
    change("/faults/{name}", "DELETE", Role("Gridpost/faults/delete")),
    // It tells of kept events, and changes nothing.
    unnoted("/filters/try", "POST", Role("Gridpost/events/read")),
    read("/handsets/{number}/messages", "Gridpost/handsets/read"),
    read("/handsets/{number}/script", "Gridpost/handsets/read"),
    change("/handsets/{number}/script", "PUT", Role("Gridpost/handsets/write")),
    change("/handsets/{number}/script", "DELETE", Role("Gridpost/handsets/delete")),
    // It shows validation URLs, and whoever visits one agrees in the endpoint's name.
    unnoted("/handshakes/awaiting", "GET HEAD", Role("Gridpost/handshakes/awaiting/action")),
    read("/handshakes/failed", "Gridpost/handshakes/read"),
    read("/info", "Gridpost/info/read"),
    read("/numbers", "Gridpost/numbers/read"),
    read("/numbers/{number}", "Gridpost/numbers/read"),
    change("/numbers/{number}", "PUT", Role("Gridpost/numbers/write")),
    change("/numbers/{number}", "DELETE", Role("Gridpost/numbers/delete")),
    unnoted("/principals", "GET HEAD", RoleAtRoot(READ_PRINCIPALS)),
    change("/principals", "POST", RoleAtRoot(WRITE_PRINCIPALS)),
    unnoted("/principals/{id}", "GET HEAD", RoleAtRoot(READ_PRINCIPALS)),
    change("/principals/{id}", "DELETE", RoleAtRoot("Microsoft.Authorization/principals/delete")),
    // Whoever gives a principal another secret or credential can act as it.
    change("/principals/{id}/secrets", "POST", SignedInAtRoot(WRITE_PRINCIPALS)),
    change("/principals/{id}/secrets/{secret}", "DELETE", SignedInAtRoot(WRITE_PRINCIPALS)),
    unnoted("/principals/{client}/credentials", "GET HEAD", SignedInAtRoot(READ_PRINCIPALS)),
    change("/principals/{client}/credentials/{name}", "PUT DELETE", SignedInAtRoot(WRITE_PRINCIPALS)),
    read("/replays", "Gridpost/replays/read"),
    change("/replays", "POST", Role("Gridpost/replays/write")),
    read("/replays/{id}", "Gridpost/replays/read"),
    change("/replays/{id}", "DELETE", Role("Gridpost/replays/delete")),
    unnoted("/sms/receive", "POST", Role("Gridpost/handsets/receive/action")),
    read("/sinks", "Gridpost/sinks/read"),
    unnoted("/sinks/{name}", "GET HEAD POST PUT PATCH OPTIONS", Nothing),
    unnoted("/sinks/{name}", "DELETE", Role("Gridpost/sinks/delete")),
    // What was received has endpoints' queries, secret headers and validation URLs in it.
    unnoted("/sinks/{name}/requests", "GET HEAD", Role("Gridpost/sinks/requests/action")),
    unnoted("/sinks/{name}/wait", "GET HEAD", Role("Gridpost/sinks/requests/action")),
    read("/sinks/{name}/behaviour", "Gridpost/sinks/read"),
    unnoted("/sinks/{name}/behaviour", "PUT", Role("Gridpost/sinks/write")),
];

/// What is known of a route.
pub(super) enum Found {
    /// Its row.
    Row(&'static Row),
    /// The path has rows, but none for the method.
    NoMethod,
    /// Nobody decided who may use it.
    Nothing,
}

/// The row of a path of the router, below our own prefix.
pub(super) fn find(path: &str, method: &Method) -> Found {
    let mut rows = ROWS.iter().filter(|row| row.path == path).peekable();
    if rows.peek().is_none() {
        return Found::Nothing;
    }
    let has = |row: &&Row| row.methods.split(' ').any(|own| own == method.as_str());
    rows.find(has).map_or(Found::NoMethod, Found::Row)
}

/// A number has so many characters at least before two of them are told.
const SHOWN_FROM: usize = 5;

impl Row {
    /// A path of this route as it may be told: of a phone number, only its last two digits.
    pub(super) fn told(&self, path: &str) -> String {
        let mut told = PREFIX.to_owned();
        let path = path.strip_prefix(PREFIX).unwrap_or(path);
        let mut own = self.path.split('/').skip(1);
        for segment in path.split('/').skip(1) {
            told.push('/');
            match own.next() {
                Some("{number}") => {
                    told.push_str("•••");
                    let last = segment.len().saturating_sub(2).max(SHOWN_FROM);
                    told.push_str(segment.get(last..).unwrap_or_default());
                }
                _ => told.push_str(segment),
            }
        }
        told
    }
}

/// Where a caller must hold a role to read of a scope in the audit log. Of principals, whoever may read those.
pub(super) fn read_at(parts: &Parts, scope: &str) -> String {
    match scope.strip_prefix(PREFIX) {
        None => scope.to_owned(),
        Some(own) if own.starts_with("/principals") => "/".to_owned(),
        Some(_) => format!("/subscriptions/{}", parts.tenant.subscription_id),
    }
}

impl Need {
    /// What a role has to allow, and where. `None`: nothing has to be allowed.
    pub(super) fn asked(self, parts: &Parts) -> Option<(&'static str, String)> {
        match self {
            Self::Role(action) => {
                let subscription = &parts.tenant.subscription_id;
                Some((action, format!("/subscriptions/{subscription}")))
            }
            Self::RoleAtRoot(action) | Self::SignedInAtRoot(action) => {
                Some((action, "/".to_owned()))
            }
            Self::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_is_not_told() {
        let told = |route: &str, path: &str| {
            let path = format!("{PREFIX}{path}");
            let Found::Row(row) = find(route, &Method::PUT) else {
                panic!("there is no {route}");
            };
            row.told(&path)
        };
        let script = told("/handsets/{number}/script", "/handsets/+14255550123/script");
        assert_eq!(script, "/_gridpost/v1/handsets/•••23/script");
        let script = told("/handsets/{number}/script", "/handsets/éééé/script");
        assert_eq!(script, "/_gridpost/v1/handsets/•••é/script");
        let script = told("/handsets/{number}/script", "/handsets/15/script");
        assert_eq!(script, "/_gridpost/v1/handsets/•••/script");
        let fault = told("/faults/{name}", "/faults/slow");
        assert_eq!(fault, "/_gridpost/v1/faults/slow");
    }
}
