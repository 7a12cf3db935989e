//! Signing in on another device: a code is shown there, and approved with a name and a password on a page of ours.
//!
//! Promise: a code is approved by whoever knows a principal's secret, redeemed once, and forgotten after a quarter of
//! an hour. Codes that wait are bounded.
//! Source: reference management 1.3, 2.3; RFC 8628.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{RawQuery, Request, State};
use axum::response::{Html, IntoResponse as _, Response};
use gridpost_model::{Chance, Timestamp};
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::users::{self, User};
use super::{Form, Refusal};
use crate::{Parts, Shared, origin};

/// `grant_type` of whoever waits for the approval.
pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

const LIFETIME: Duration = Duration::from_secs(900);

/// How many codes wait at most: a person has one or two, and each is some 200 bytes.
const MOST_WAITING: usize = 1_000;

/// Letters that make no words and are not taken for digits.
const LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";

/// The codes that wait.
#[derive(Default)]
pub struct Devices(Mutex<HashMap<String, Waiting>>);

struct Waiting {
    user_code: String,
    until: Timestamp,
    approved: Option<User>,
}

/// What became of a code.
enum Fate {
    Unknown,
    Expired,
    Pending,
    Approved(User),
}

impl Devices {
    /// A code for the device and one for the person. When too many wait, the oldest waits no longer: whoever asks for
    /// very many keeps nobody from signing in who is quick about it.
    fn begin(&self, chance: &dyn Chance, now: Timestamp) -> (String, String) {
        let mut all = self.0.lock();
        if all.len() >= MOST_WAITING {
            all.retain(|_, one| now < one.until);
        }
        if all.len() >= MOST_WAITING {
            let oldest = all
                .iter()
                .min_by_key(|(_, one)| (one.approved.is_some(), one.until));
            if let Some(oldest) = oldest.map(|(code, _)| code.clone()) {
                all.remove(&oldest);
            }
        }
        let (device_code, user_code) = (chance.uuid(), user_code(chance));
        let waiting = Waiting {
            user_code: user_code.clone(),
            until: now + LIFETIME,
            approved: None,
        };
        all.insert(device_code.clone(), waiting);
        (device_code, user_code)
    }

    /// Whether there was such a code to approve.
    fn approve(&self, user_code: &str, user: User, now: Timestamp) -> bool {
        let typed = user_code.trim().to_ascii_uppercase();
        let mut all = self.0.lock();
        let found = all
            .values_mut()
            .find(|one| one.user_code == typed && now < one.until && one.approved.is_none());
        found.map(|one| one.approved = Some(user)).is_some()
    }

    fn fate(&self, device_code: &str, now: Timestamp) -> Fate {
        let mut all = self.0.lock();
        let Some(one) = all.get_mut(device_code) else {
            return Fate::Unknown;
        };
        if one.until <= now {
            all.remove(device_code);
            return Fate::Expired;
        }
        match one.approved.take() {
            None => Fate::Pending,
            Some(user) => {
                all.remove(device_code);
                Fate::Approved(user)
            }
        }
    }
}

fn user_code(chance: &dyn Chance) -> String {
    let mut bytes = [0; 8];
    chance.fill(&mut bytes);
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    let (first, second) = bytes.split_at(4);
    let half = |half: &[u8]| half.iter().map(letter).collect::<String>();
    format!("{}-{}", half(first), half(second))
}

/// `POST …/devicecode`.
pub(super) async fn begin(State(parts): State<Shared>, request: Request) -> Response {
    let head = request.into_parts().0;
    let page = format!("{}/devicelogin", origin::base_url(&parts, &head));
    let now = parts.clock.wall();
    let (device_code, user_code) = parts.devices.begin(&*parts.chance, now);
    let message = format!(
        "To sign in, use a web browser to open the page {page} and enter the code {user_code} to authenticate."
    );
    super::no_store(
        axum::Json(json!({
            "user_code": user_code, "device_code": device_code, "verification_uri": page,
            "expires_in": LIFETIME.as_secs(), "interval": 1, "message": message,
        }))
        .into_response(),
    )
}

/// `grant_type=…device_code`: asked again and again until somebody has approved.
pub(super) fn redeemed(parts: &Parts, base: &str, form: &Form) -> Result<Value, Refusal> {
    let code = form
        .device_code
        .as_deref()
        .ok_or_else(|| Refusal::missing("device_code"))?;
    match parts.devices.fate(code, parts.clock.wall()) {
        Fate::Approved(user) => users::granted(parts, base, form, &user),
        Fate::Pending => Err(Refusal {
            error: "authorization_pending",
            ..Refusal::new(
                70_016,
                "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
            )
        }),
        Fate::Expired => Err(Refusal {
            error: "expired_token",
            ..Refusal::new(
                70_020,
                "The provided value for the input parameter 'device_code' is not valid: it has expired.",
            )
        }),
        Fate::Unknown => Err(Refusal {
            error: "bad_verification_code",
            ..Refusal::new(
                70_018,
                "Invalid verification code due to the user typing in the wrong user code for device code flow.",
            )
        }),
    }
}

/// `GET /devicelogin`.
pub(super) async fn page(RawQuery(query): RawQuery) -> Html<String> {
    let query = query.unwrap_or_default();
    let code = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "code")
        .map(|(_, value)| value.into_owned());
    Html(shown("", &code.unwrap_or_default()))
}

/// `POST /devicelogin`. The password stands in the form itself, so that no other page can approve in somebody's name.
pub(super) async fn approve(State(parts): State<Shared>, request: Request) -> Response {
    let body = axum::body::to_bytes(request.into_body(), super::MAX_FORM_BYTES).await;
    let form = Form::parse(&body.unwrap_or_default());
    let (code, name) = (form.user_code.as_deref(), form.username.as_deref());
    let (Some(code), Some(name), Some(password)) = (code, name, &form.password) else {
        let text = "Fill in the code, the name and the password.";
        return (StatusCode::BAD_REQUEST, Html(shown(text, ""))).into_response();
    };
    let Ok(user) = users::sign_in(&parts, name, password).await else {
        let text = "The name or the password is wrong.";
        return (StatusCode::UNAUTHORIZED, Html(shown(text, code))).into_response();
    };
    if parts.devices.approve(code, user, parts.clock.wall()) {
        return Html(shown("You are signed in. You can close this page.", "")).into_response();
    }
    let text = "There is no such code, or it has expired.";
    (StatusCode::NOT_FOUND, Html(shown(text, ""))).into_response()
}

fn shown(message: &str, code: &str) -> String {
    let code: String = code
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(20)
        .collect();
    format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Gridpost: sign in a device</title></head>
<body><h1>Sign in a device</h1><p>{message}</p>
<form method="post" action="/devicelogin">
<p><label>Code <input name="user_code" value="{code}" required></label></p>
<p><label>Client id <input name="username" autocomplete="username" required></label></p>
<p><label>Secret <input name="password" type="password" autocomplete="current-password" required></label></p>
<p><button>Sign in</button></p>
</form></body></html>
"#
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gridpost_grid::principals::Principal;
    use gridpost_sim::SeededChance;

    use super::*;

    fn user() -> User {
        User {
            name: "n".into(),
            principal: Arc::new(Principal::new("c", "o", "", Timestamp::EPOCH)),
            secret: "m".into(),
            until: 0,
        }
    }

    #[test]
    fn a_code_is_redeemed_once_and_only_when_it_was_approved() {
        let (devices, now) = (Devices::default(), Timestamp::EPOCH);
        let (device, typed) = devices.begin(&SeededChance::new(1), now);
        assert!(matches!(devices.fate(&device, now), Fate::Pending));
        assert!(!devices.approve("AAAA-AAAA", user(), now));
        assert!(devices.approve(&typed.to_lowercase(), user(), now));
        assert!(
            !devices.approve(&typed, user(), now),
            "it is approved already"
        );
        assert!(matches!(devices.fate(&device, now), Fate::Approved(_)));
        assert!(matches!(devices.fate(&device, now), Fate::Unknown));
    }

    #[test]
    fn a_code_ends() {
        let (devices, now) = (Devices::default(), Timestamp::EPOCH);
        let (device, typed) = devices.begin(&SeededChance::new(1), now);
        assert!(!devices.approve(&typed, user(), now + LIFETIME));
        assert!(matches!(
            devices.fate(&device, now + LIFETIME),
            Fate::Expired
        ));
    }

    #[test]
    fn of_very_many_codes_the_oldest_goes_but_none_that_was_approved() {
        let devices = Devices::default();
        let chance = SeededChance::new(1);
        let at = |second: u64| Timestamp::EPOCH + Duration::from_secs(second);
        let (approved, typed) = devices.begin(&chance, at(0));
        assert!(devices.approve(&typed, user(), at(0)));
        let (oldest, _) = devices.begin(&chance, at(1));
        let (next, _) = devices.begin(&chance, at(2));
        for _ in 3..=MOST_WAITING {
            devices.begin(&chance, at(3));
        }
        assert_eq!(devices.0.lock().len(), MOST_WAITING);
        assert!(matches!(devices.fate(&oldest, at(3)), Fate::Unknown));
        assert!(matches!(devices.fate(&next, at(3)), Fate::Pending));
        assert!(matches!(devices.fate(&approved, at(3)), Fate::Approved(_)));
    }
}
