//! The commands of this machine: whoever can read the data folder.
//!
//! Promise: a token of this kind is signed with the key that lies in the data folder, and the token endpoint gives none
//! out. Whoever reads that key could write a token for any principal, so that this lets nobody in who was kept out.
//! Not here: reading the key (`server`).

use std::time::Duration;

use gridpost_model::{Secret, Timestamp};

use super::Principal;
use crate::token::{Claims, TokenKeys};

/// Who they are; no principal has this client id.
pub const CLIENT: &str = "00000000-0000-4000-8000-000000000001";

/// How they are called where people read it.
pub const NAME: &str = "this machine";

/// A command takes seconds; one that waits long signed in before.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Clocks of one machine agree, but seconds are whole.
const EARLIER: Duration = Duration::from_secs(5);

/// A token for the server of a data folder. `None` when signing failed.
pub fn token(keys: &TokenKeys, tenant_id: &str, now: Timestamp) -> Option<Secret> {
    let claims = Claims {
        aud: "https://management.azure.com".to_owned(),
        iss: NAME.to_owned(),
        iat: now.seconds(),
        nbf: (now - EARLIER).seconds(),
        exp: (now + LIFETIME).seconds(),
        tid: tenant_id.to_owned(),
        oid: CLIENT.to_owned(),
        appid: CLIENT.to_owned(),
        sub: CLIENT.to_owned(),
        ver: "2.0".to_owned(),
    };
    keys.sign(&claims).map(Secret::new)
}

/// Whether a caller is such a command.
pub(crate) fn is(principal: &Principal) -> bool {
    principal.client_id == CLIENT
}

/// The caller that such a command is.
pub(super) fn principal() -> Principal {
    Principal {
        client_id: CLIENT.to_owned(),
        object_id: CLIENT.to_owned(),
    }
}
