//! Credentials: as anybody may send them, and as a holder of a key makes them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gridpost_model::{KeyPair, Secret, Timestamp};
use http::{HeaderMap, HeaderValue, Uri};
use ring::hmac;
use url::form_urlencoded::byte_serialize;

use super::super::credential::Credential;
use super::{NOW, headers, line};
use crate::auth::sas::{self, Endpoint, SasError};

const KEYS: [&[u8]; 2] = [b"the first key", b"another key"];
const BASE: &str = "https://localhost:8480";
const PATH: &str = "/topics/t1/api/events";

/// Eight bytes that say which token is made and what is changed in it, then a request: its target on the first line,
/// its headers on the next.
///
/// What opens the endpoint was signed with a key of the endpoint, over these very characters; what was signed so opens
/// it, until one byte of it changes.
pub fn sas_tokens(input: &[u8]) {
    let Some((knobs, request)) = input.split_first_chunk() else {
        return;
    };
    let (target, rest) = line(request);
    shown(target, &headers(rest).0);
    made(*knobs, target);
}

fn shown(target: &[u8], headers: &HeaderMap) {
    let Ok(uri) = Uri::try_from(target) else {
        return;
    };
    match Credential::of(&uri, headers) {
        Some(Credential::Key(key)) => {
            let is_ours = KEYS.iter().any(|own| BASE64_STANDARD.encode(own) == key);
            assert_eq!(keys().accepts(&Secret::new(&*key)), is_ours);
            let _ = sas::what_is_wrong_with_key(&key);
        }
        Some(Credential::Signature(token)) => {
            let opened = verify(token, NOW) == Ok(());
            assert!(!opened || is_signed(token), "a forged token: {token}");
        }
        Some(Credential::Bearer | Credential::Unsupported) | None => (),
    }
}

fn made(knobs: [u8; 8], more: &[u8]) {
    let [a, b, c, d, form, high, low, change] = knobs;
    let seconds = 1 + i64::from(u32::from_le_bytes([a, b, c, d]));
    let expiry = Timestamp::from_seconds(NOW.seconds() + seconds);
    let token = token(expiry, form, more);

    assert_eq!(verify(&token, NOW), Ok(()), "{token}");
    assert_eq!(verify(&token, expiry), Err(SasError::Expired), "{token}");
    let elsewhere = check(&token, "/topics/t2/api/events", &keys(), NOW);
    assert_eq!(elsewhere, Err(SasError::Wrong), "{token}");
    let stranger = KeyPair {
        first: Secret::new("c3RyYW5nZXI="),
        second: Secret::new("not base64"),
    };
    let by_stranger = check(&token, PATH, &stranger, NOW);
    assert_eq!(by_stranger, Err(SasError::Wrong), "{token}");

    sent_in_each_header(&token);
    let at = usize::from(u16::from_be_bytes([high, low])) % token.len();
    changed(&token, at, change);
}

fn sent_in_each_header(token: &str) {
    let value = |text: &str| HeaderValue::from_str(text).expect("a token is printable");
    let forms = [
        ("aeg-sas-token", value(token)),
        (
            "authorization",
            value(&format!("SharedAccessSignature {token}")),
        ),
    ];
    let uri = Uri::from_static(PATH);
    for (name, value) in forms {
        let headers = HeaderMap::from_iter([(name.parse().expect("a name"), value)]);
        assert_eq!(
            Credential::of(&uri, &headers),
            Some(Credential::Signature(token))
        );
    }
}

/// A byte of the signature may be written in another way and mean the same; one of what was signed may not.
fn changed(token: &str, at: usize, change: u8) {
    let mut bytes = token.as_bytes().to_vec();
    bytes[at] ^= change;
    let Ok(changed) = String::from_utf8(bytes) else {
        return;
    };
    if verify(&changed, NOW) == Ok(()) {
        assert!(is_signed(&changed), "{token} became {changed}");
        let signed = |token: &str| {
            token
                .rsplit_once("&s=")
                .map(|(signed, _)| signed.to_owned())
        };
        assert_eq!(signed(&changed), signed(token));
    }
}

/// A token in the ways of the clients, for the endpoint with anything as its query.
fn token(expiry: Timestamp, form: u8, query: &[u8]) -> String {
    let query: String = byte_serialize(query).collect();
    let resource = encoded(&format!("{BASE}{PATH}?apiVersion={query}"));
    let american = encoded(&expiry.us_date());
    let expiry = match form % 4 {
        0 => american,
        1 => american.replace('+', "%20"),
        2 => encoded(&expiry.format("%Y-%m-%dT%H:%M:%S")),
        _ => encoded(&expiry.format("%Y-%m-%d %H:%M:%S+00:00")).replace('+', "%20"),
    };
    let signed = match form & 8 {
        0 => format!("r={resource}&e={expiry}"),
        // .NET escapes with small letters, and signs those.
        _ => in_small_letters(&format!("r={resource}&e={expiry}")),
    };
    let key = KEYS[usize::from(form >> 2) % 2];
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    let signature = encoded(&BASE64_STANDARD.encode(signature));
    format!("{signed}&s={signature}")
}

fn in_small_letters(escaped: &str) -> String {
    let mut parts = escaped.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(2);
        format!("{text}%{}{rest}", digits.to_ascii_lowercase())
    })
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// Whether a key of ours made the signature, by another implementation than the one that is tried.
fn is_signed(token: &str) -> bool {
    let Some((signed, signature)) = token.rsplit_once("&s=") else {
        return false;
    };
    let pair = format!("s={signature}");
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    let Some((_, signature)) = pairs.next() else {
        return false;
    };
    let Ok(signature) = BASE64_STANDARD.decode(signature.replace(' ', "+")) else {
        return false;
    };
    KEYS.iter().any(|key| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
    })
}

fn keys() -> KeyPair {
    let [first, second] = KEYS.map(|key| Secret::new(BASE64_STANDARD.encode(key)));
    KeyPair { first, second }
}

fn verify(token: &str, now: Timestamp) -> Result<(), SasError> {
    check(token, PATH, &keys(), now)
}

fn check(token: &str, path: &str, keys: &KeyPair, now: Timestamp) -> Result<(), SasError> {
    let endpoint = Endpoint {
        hosts: [BASE, "https://127.0.0.1:8480"],
        path,
    };
    sas::verify(token, keys, &endpoint, now)
}
