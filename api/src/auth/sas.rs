//! Shared access signatures of Event Grid publishers.
//!
//! Promise: the signature is checked over the very characters that were sent, so every client's way of escaping and
//! of writing the expiry is accepted. Times without a zone are UTC.
//! Source: reference event-grid 2.4, traps 4 and 5.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gridpost_model::{KeyPair, Secret, Timestamp};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use url::Url;

/// Why a signature does not open the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SasError {
    /// It has not the three parts.
    Malformed,
    /// It was good.
    Expired,
    /// Another key made it, or it is for another endpoint.
    Wrong,
}

/// What a signature must be for.
pub(crate) struct Endpoint<'a> {
    /// Base URLs by which the endpoint is known.
    pub(crate) hosts: [&'a str; 2],
    /// Its path.
    pub(crate) path: &'a str,
}

/// Whether `r={resource}&e={expiry}&s={signature}` is by one of the keys, for the endpoint, and not over.
pub(crate) fn verify(
    token: &str,
    keys: &KeyPair,
    endpoint: &Endpoint<'_>,
    now: Timestamp,
) -> Result<(), SasError> {
    let (signed, signature) = token.rsplit_once("&s=").ok_or(SasError::Malformed)?;
    let (resource, expiry) = signed
        .strip_prefix("r=")
        .and_then(|rest| rest.split_once("&e="))
        .ok_or(SasError::Malformed)?;
    let expiry = expiry_of(&form_decoded(expiry)).ok_or(SasError::Malformed)?;
    let signature = BASE64_STANDARD
        // A plus sign that nobody escaped reads as a space.
        .decode(form_decoded(signature).replace(' ', "+"))
        .map_err(|_| SasError::Malformed)?;
    if !keys.both().iter().any(|key| signs(key, signed, &signature)) {
        return Err(SasError::Wrong);
    }
    if !endpoint.is(&form_decoded(resource)) {
        return Err(SasError::Wrong);
    }
    if expiry <= now {
        Err(SasError::Expired)
    } else {
        Ok(())
    }
}

fn signs(key: &Secret, text: &str, signature: &[u8]) -> bool {
    let Ok(key) = BASE64_STANDARD.decode(key.reveal()) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else {
        return false;
    };
    mac.update(text.as_bytes());
    mac.verify_slice(signature).is_ok()
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

impl Endpoint<'_> {
    /// Host and path decide; scheme, query and a slash at the end do not.
    fn is(&self, resource: &str) -> bool {
        let Ok(resource) = Url::parse(resource) else {
            return false;
        };
        let same_path = resource
            .path()
            .trim_end_matches('/')
            .eq_ignore_ascii_case(self.path.trim_end_matches('/'));
        let same_host = |base: &&str| {
            Url::parse(base).is_ok_and(|base| {
                base.host_str() == resource.host_str()
                    && base.port_or_known_default() == resource.port_or_known_default()
            })
        };
        same_path && self.hosts.iter().any(same_host)
    }
}

/// ISO 8601 with a space or a `T`, with or without a zone; or the American form.
fn expiry_of(text: &str) -> Option<Timestamp> {
    if text.contains('/') {
        return american(text);
    }
    let iso = text.trim().replacen(' ', "T", 1);
    iso.parse().or_else(|_| format!("{iso}Z").parse()).ok()
}

/// `6/15/2017 6:20:15 PM`.
fn american(text: &str) -> Option<Timestamp> {
    let mut words = text.split_whitespace();
    let [month, day, year] = numbers(words.next()?, '/')?;
    let [hour, minute, second] = numbers(words.next()?, ':')?;
    if !(1..=12).contains(&hour) {
        return None;
    }
    let half = words.next()?;
    let hour = if half.eq_ignore_ascii_case("PM") {
        hour % 12 + 12
    } else if half.eq_ignore_ascii_case("AM") {
        hour % 12
    } else {
        return None;
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
        .parse()
        .ok()
}

fn numbers(text: &str, between: char) -> Option<[u32; 3]> {
    let mut parts = text.split(between).map(|part| part.parse().ok());
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

/// Why a key that does not fit does not fit.
pub(crate) fn what_is_wrong_with_key(key: &str) -> &'static str {
    if BASE64_STANDARD.decode(key).is_err() {
        "The input is not a valid Base-64 string as it contains a non-base 64 character, more than two padding characters, or an illegal character among the padding characters."
    } else {
        "The key is neither of the two keys of the resource."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/topics/t1/api/events";

    fn keys() -> KeyPair {
        KeyPair {
            first: Secret::new("Zmlyc3Q="),
            second: Secret::new("c2Vjb25k"),
        }
    }

    fn token(resource: &str, expiry: &str) -> String {
        let signed = format!("r={resource}&e={expiry}");
        let mut mac = Hmac::<Sha256>::new_from_slice(b"second").unwrap();
        mac.update(signed.as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let signature: String =
            url::form_urlencoded::byte_serialize(signature.as_bytes()).collect();
        format!("{signed}&s={signature}")
    }

    fn check(token: &str) -> Result<(), SasError> {
        let endpoint = Endpoint {
            hosts: ["https://localhost:8480", "https://127.0.0.1:8480"],
            path: PATH,
        };
        verify(
            token,
            &keys(),
            &endpoint,
            "2026-01-01T00:00:00Z".parse().unwrap(),
        )
    }

    #[test]
    fn event_grid_2_4_every_client_is_understood() {
        let table = [
            (
                "https%3a%2f%2flocalhost%3a8480%2ftopics%2ft1%2fapi%2fevents",
                "6%2f15%2f2027+6%3a20%3a15+PM",
            ),
            (
                "https%3A%2F%2Flocalhost%3A8480%2Ftopics%2Ft1%2Fapi%2Fevents",
                "2027-01-02T15%3A04%3A05.123456",
            ),
            (
                "https%3A%2F%2F127.0.0.1%3A8480%2Ftopics%2Ft1%2Fapi%2Fevents%3FapiVersion%3D2018-01-01",
                "2027-01-02%2015%3A04%3A05%2B00%3A00",
            ),
            (
                "https%3A%2F%2FLOCALHOST%3A8480%2Ftopics%2FT1%2Fapi%2Fevents%2F%3FapiVersion%3D2018-01-01",
                "1%2F1%2F2030%2012%3A00%3A00%20AM",
            ),
        ];
        for (resource, expiry) in table {
            assert_eq!(
                check(&token(resource, expiry)),
                Ok(()),
                "{resource} {expiry}"
            );
        }
    }

    #[test]
    fn another_key_another_endpoint_and_a_passed_time_are_told_apart() {
        let here = "https%3A%2F%2Flocalhost%3A8480%2Ftopics%2Ft1%2Fapi%2Fevents";
        let good = token(here, "2027-01-01T00%3A00%3A00");
        assert_eq!(check(&good.replace("2027", "2028")), Err(SasError::Wrong));
        let elsewhere = here.replace("t1", "t2");
        assert_eq!(
            check(&token(&elsewhere, "2027-01-01T00%3A00%3A00")),
            Err(SasError::Wrong)
        );
        assert_eq!(
            check(&token(here, "2025-12-31T23%3A59%3A59")),
            Err(SasError::Expired)
        );
        assert_eq!(check("r=x&e=y"), Err(SasError::Malformed));
        assert_eq!(check("sure"), Err(SasError::Malformed));
    }

    #[test]
    fn twelve_o_clock_is_noon_or_midnight() {
        let noon = expiry_of("1/2/2030 12:00:00 PM").unwrap();
        assert_eq!(noon.to_string(), "2030-01-02T12:00:00Z");
        let midnight = expiry_of("1/2/2030 12:00:00 AM").unwrap();
        assert_eq!(midnight.to_string(), "2030-01-02T00:00:00Z");
        let evening = expiry_of("1/2/2030 6:20:15 pm").unwrap();
        assert_eq!(evening.to_string(), "2030-01-02T18:20:15Z");
    }

    #[test]
    fn section_2_4_an_hour_that_no_clock_shows_makes_no_time() {
        for hour in ["0", "13", "24", "4294967290", "4294967296"] {
            for half in ["AM", "PM"] {
                let text = format!("1/1/2026 {hour}:00:00 {half}");
                assert_eq!(expiry_of(&text), None, "{text}");
            }
        }
        let unsigned = "r=x&e=1%2F1%2F2026%204294967290%3A0%3A0%20PM&s=eA%3D%3D";
        assert_eq!(check(unsigned), Err(SasError::Malformed));
    }
}
