//! Access key signatures of communication clients.
//!
//! Promise: a request passes only when one of the keys signed exactly this method, target, date and body, in one of
//! the spellings that real clients sign. Clients disagree about how a target is written before it is signed, so every
//! known spelling is tried; the first nearly always fits.
//! Not here: which resources exist (`comms`), bearer tokens (`bearer`).
//! Source: reference communication-services 3.1.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gridpost_model::{KeyPair, Secret, Timestamp};
use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::form_urlencoded;

/// How far a client's clock may be off. The real value is not documented; five minutes is what the neighbouring
/// services allow, and it bounds how long a captured request can be replayed.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// How many headers a signature may name. Clients name three.
const SIGNED_HEADERS_LIMIT: usize = 16;

/// A request as its client sent it, before anything was decoded.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The `Host` header, or `:authority`.
    pub host: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// Somebody whose keys may have signed.
pub trait Signer {
    /// Its two keys.
    fn keys(&self) -> &KeyPair;
    /// Its own host name, which clients behind a name server dial.
    fn host_name(&self) -> &str;
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no signature at all.
    #[error(
        "The request has no 'Authorization' header with an access key signature or a bearer token."
    )]
    NoCredential,
    /// The header is not of the form that clients write.
    #[error(
        "The 'Authorization' header is malformed. Expected 'HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=<base64>'."
    )]
    Malformed,
    /// The signature leaves out what must be signed, or names a header that is not there.
    #[error("The request is missing the signed header '{0}'.")]
    NotSigned(String),
    /// The date is no date.
    #[error("The request date is not an RFC 1123 date.")]
    BadDate,
    /// The client's clock and ours disagree.
    #[error("The request date differs from the server time by more than 5 minutes.")]
    Skewed,
    /// The body is not the one that was signed.
    #[error("Request 'x-ms-content-sha256' differs from generated content hash.")]
    BodyDiffers,
    /// No key signed this request.
    #[error("The HMAC signature does not match an access key of any resource.")]
    WrongSignature,
}

/// Finds who signed the request. `host_names` are further names clients may have dialled and signed.
///
/// # Errors
/// The request is not signed well, not lately, or by nobody we know.
pub fn verify<'s, S: Signer>(
    request: &SignedRequest<'_>,
    host_names: &[String],
    signers: &'s [S],
    now: Timestamp,
) -> Result<&'s S, Denied> {
    let claim = Claim::read(request.headers)?;
    claim.check_date(now)?;
    claim.check_body(request)?;
    let targets = spellings(request.target);
    let hosts = hosts(request, host_names);
    let shared = claim.candidates(request.method, &targets, &hosts);
    if let Some(found) = shared.iter().find_map(|text| {
        signers
            .iter()
            .find(|signer| claim.is_signed_by(signer.keys(), text))
    }) {
        return Ok(found);
    }
    for signer in signers {
        let own = [with_port_of(request.host, signer.host_name())];
        let candidates = claim.candidates(request.method, &targets, &own);
        if candidates
            .iter()
            .any(|text| claim.is_signed_by(signer.keys(), text))
        {
            return Ok(signer);
        }
    }
    Err(Denied::WrongSignature)
}

/// Whether the request carries an access key signature, good or bad.
pub fn is_signed(headers: &HeaderMap) -> bool {
    text_of(headers, "authorization").is_some_and(|value| parameters(value).is_some())
}

/// What the `Authorization` header says was signed.
struct Claim<'a> {
    /// The value of each signed header, in order; `None` stands for the host, of which there are several spellings.
    values: Vec<Option<&'a str>>,
    date: &'a str,
    content_hash: &'a str,
    signature: Vec<u8>,
}

impl<'a> Claim<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Denied> {
        let value = text_of(headers, "authorization").ok_or(Denied::NoCredential)?;
        let parameters = parameters(value).ok_or(Denied::NoCredential)?;
        let parameter = |name: &str| {
            let mut pairs = parameters
                .split('&')
                .filter_map(|pair| pair.trim().split_once('='));
            pairs
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        let names = parameter("SignedHeaders").ok_or(Denied::Malformed)?;
        let signature = parameter("Signature").ok_or(Denied::Malformed)?;
        let signature = BASE64_STANDARD
            .decode(signature)
            .map_err(|_| Denied::Malformed)?;
        let mut claim = Self {
            values: Vec::new(),
            date: "",
            content_hash: "",
            signature,
        };
        let mut host_is_signed = false;
        for name in names.split(';').take(SIGNED_HEADERS_LIMIT) {
            if name.eq_ignore_ascii_case("host") {
                host_is_signed = true;
                claim.values.push(None);
                continue;
            }
            let value = text_of(headers, name).ok_or_else(|| Denied::NotSigned(name.into()))?;
            match name.to_ascii_lowercase().as_str() {
                "x-ms-date" | "date" => claim.date = value,
                "x-ms-content-sha256" => claim.content_hash = value,
                _ => (),
            }
            claim.values.push(Some(value));
        }
        // A signature that leaves one of these out would let the rest of the request be exchanged.
        for (name, is_signed) in [
            ("x-ms-date", !claim.date.is_empty()),
            ("host", host_is_signed),
            ("x-ms-content-sha256", !claim.content_hash.is_empty()),
        ] {
            if !is_signed {
                return Err(Denied::NotSigned(name.into()));
            }
        }
        Ok(claim)
    }

    fn check_date(&self, now: Timestamp) -> Result<(), Denied> {
        let date = Timestamp::from_http_date(self.date).map_err(|_| Denied::BadDate)?;
        let distance = now.since(date).max(date.since(now));
        if distance <= CLOCK_SKEW {
            Ok(())
        } else {
            Err(Denied::Skewed)
        }
    }

    fn check_body(&self, request: &SignedRequest<'_>) -> Result<(), Denied> {
        let hash = BASE64_STANDARD.encode(Sha256::digest(request.body));
        let same: bool = hash.as_bytes().ct_eq(self.content_hash.as_bytes()).into();
        if same {
            Ok(())
        } else {
            Err(Denied::BodyDiffers)
        }
    }

    /// Every text that may have been signed, the likeliest first.
    fn candidates(&self, method: &str, targets: &[String], hosts: &[String]) -> Vec<String> {
        let mut found = Vec::with_capacity(targets.len() * hosts.len());
        for host in hosts {
            let values: Vec<&str> = self
                .values
                .iter()
                .map(|value| value.unwrap_or(host))
                .collect();
            let values = values.join(";");
            found.extend(
                targets
                    .iter()
                    .map(|target| format!("{method}\n{target}\n{values}")),
            );
        }
        found
    }

    fn is_signed_by(&self, keys: &KeyPair, text: &str) -> bool {
        keys.both()
            .into_iter()
            .any(|key| self.is_signed_with(key, text))
    }

    fn is_signed_with(&self, key: &Secret, text: &str) -> bool {
        let Ok(key) = BASE64_STANDARD.decode(key.reveal()) else {
            return false;
        };
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&key) else {
            return false;
        };
        mac.chain_update(text).verify_slice(&self.signature).is_ok()
    }
}

/// What follows the scheme's name in the `Authorization` header; `None` for another scheme.
fn parameters(authorization: &str) -> Option<&str> {
    let (scheme, rest) = authorization.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("HMAC-SHA256")
        .then(|| rest.trim())
}

/// A header's text; `None` when it is absent, repeated or not text.
fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name.trim()).iter();
    let only = all.next()?;
    if all.next().is_some() {
        return None;
    }
    only.to_str().ok()
}

/// The ways clients write a target before they sign it.
fn spellings(target: &str) -> Vec<String> {
    let mut all = vec![target.to_owned()];
    for other in [
        with_form_encoded_query(target),
        percent_decode_str(target).decode_utf8_lossy().into_owned(),
        requoted(target),
    ] {
        if !all.contains(&other) {
            all.push(other);
        }
    }
    all
}

/// JavaScript: the path as sent, the query as `URLSearchParams` writes it.
fn with_form_encoded_query(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let pairs = form_urlencoded::parse(query.as_bytes());
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("{path}?{query}")
}

/// Python's asynchronous clients: the form in which `yarl` writes a URL. Escapes that are not needed are undone, the
/// others are upper case.
fn requoted(target: &str) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut out = String::with_capacity(target.len());
    requote(path, b"&;=", &mut out);
    if let Some(query) = query {
        out.push('?');
        requote(query, b"/?", &mut out);
    }
    out
}

fn requote(text: &str, also_plain: &[u8], out: &mut String) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(from_hex);
        let (value, is_plain) = match escaped {
            Some(value) => {
                let is_plain = value.is_ascii_alphanumeric()
                    || b"-._~!$'()*,:@".contains(&value)
                    || also_plain.contains(&value);
                (value, is_plain)
            }
            None => (
                byte,
                byte.is_ascii_graphic() && !b"%\"<>[\\]^`{|}".contains(&byte),
            ),
        };
        if is_plain {
            out.push(char::from(value));
        } else {
            let _ = write!(out, "%{value:02X}");
        }
        at += if escaped.is_some() { 3 } else { 1 };
    }
}

fn from_hex(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(digits, 16)
        .ok()
        .filter(|_| !digits.starts_with('+'))
}

/// The hosts that may have been signed, the likeliest first.
fn hosts(request: &SignedRequest<'_>, host_names: &[String]) -> Vec<String> {
    let mut all = vec![request.host.to_owned()];
    let further = [format!("{}/", request.host)]
        .into_iter()
        .chain(text_of(request.headers, "x-ms-host").map(str::to_owned))
        .chain(
            host_names
                .iter()
                .map(|name| with_port_of(request.host, name)),
        );
    for other in further {
        if !all.contains(&other) {
            all.push(other);
        }
    }
    all
}

/// `name` with the port of `host`, unless it names a port itself.
fn with_port_of(host: &str, name: &str) -> String {
    match (port(name), port(host)) {
        (None, Some(port)) => format!("{name}:{port}"),
        _ => name.to_owned(),
    }
}

fn port(host: &str) -> Option<&str> {
    let (_, port) = host.rsplit_once(':')?;
    (!port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const DATE: &str = "Sun, 22 Nov 2026 00:27:55 GMT";

    struct Resource(&'static str, KeyPair, &'static str);

    impl Signer for Resource {
        fn keys(&self) -> &KeyPair {
            &self.1
        }

        fn host_name(&self) -> &str {
            self.2
        }
    }

    fn key(first_byte: u8) -> Secret {
        let bytes: Vec<u8> = (0..64).map(|n| first_byte + n).collect();
        Secret::new(BASE64_STANDARD.encode(bytes))
    }

    /// Two resources; the vectors below are signed by the keys of the second.
    fn resources() -> [Resource; 2] {
        [
            Resource(
                "other",
                KeyPair {
                    first: key(128),
                    second: key(129),
                },
                "other.communication.example",
            ),
            Resource(
                "dev",
                KeyPair {
                    first: key(0),
                    second: key(64),
                },
                "dev.communication.example",
            ),
        ]
    }

    struct Call {
        method: &'static str,
        target: &'static str,
        host: &'static str,
        body: &'static str,
        headers: HeaderMap,
    }

    impl Call {
        fn new(method: &'static str, host: &'static str, target: &'static str) -> Self {
            Self {
                method,
                target,
                host,
                body: "",
                headers: HeaderMap::new(),
            }
        }

        fn body(mut self, body: &'static str) -> Self {
            self.body = body;
            self
        }

        fn header(mut self, name: &'static str, value: &str) -> Self {
            self.headers
                .insert(name, HeaderValue::from_str(value).unwrap());
            self
        }

        /// With the headers that clients send beside a signature.
        fn signature(self, signature: &str) -> Self {
            let hash = BASE64_STANDARD.encode(Sha256::digest(self.body));
            let authorization = format!(
                "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}"
            );
            self.header("x-ms-date", DATE)
                .header("x-ms-content-sha256", &hash)
                .header("authorization", &authorization)
        }

        /// Signed over another spelling of target and host than what is sent.
        fn signed_as(self, host: &str, target: &str) -> Self {
            let hash = BASE64_STANDARD.encode(Sha256::digest(self.body));
            let text = format!("{}\n{target}\n{DATE};{host};{hash}", self.method);
            self.signature(&sign(&text))
        }

        fn verify_at(&self, now: Timestamp) -> Result<&'static str, Denied> {
            let request = SignedRequest {
                method: self.method,
                target: self.target,
                host: self.host,
                headers: &self.headers,
                body: self.body.as_bytes(),
            };
            let names = ["LOCALHOST".to_owned(), "gridpost.example:9000".to_owned()];
            verify(&request, &names, &resources(), now).map(|found| found.0)
        }

        fn verify(&self) -> Result<&'static str, Denied> {
            self.verify_at(Timestamp::from_http_date(DATE).unwrap())
        }
    }

    fn sign(text: &str) -> String {
        let key = BASE64_STANDARD.decode(key(0).reveal()).unwrap();
        let mac = Hmac::<Sha256>::new_from_slice(&key)
            .unwrap()
            .chain_update(text);
        BASE64_STANDARD.encode(mac.finalize().into_bytes())
    }

    /// Signatures made by the policies of the public clients: Python azure-communication-sms 1.1.0 (synchronous, with
    /// the second key, with a slash after the port, with an upper-case host, asynchronous),
    /// azure-communication-rooms 1.2.0, and the JavaScript signing of `URLSearchParams`.
    #[test]
    fn signatures_of_real_clients_are_accepted() {
        const SMS: &str = "/sms?api-version=2021-03-07";
        const TEXT: &str = r#"{"from":"+15555550100"}"#;
        for (name, call, signature) in [
            (
                "python sms",
                Call::new("POST", "127.0.0.1:8480", SMS).body(TEXT),
                "LP1/7el3z8ytcGFuw3AmMSW8hMO9IYS1x/9hKxy4xAU=",
            ),
            (
                "second key",
                Call::new("POST", "127.0.0.1:8480", SMS).body(TEXT),
                "SzQ3D1VMJ+jDMj0H+7AnnX7OZC9a00Egb5ZNPBGq9rk=",
            ),
            (
                "slash after the endpoint",
                Call::new("POST", "localhost:8480", SMS).body("{}"),
                "tk3k5EIePzqWxXIlBoPZcrWtKbUQu18/9OEMRX1pmu8=",
            ),
            (
                "upper-case host",
                Call::new("POST", "localhost:8480", SMS).body("{}"),
                "R4k7/Lal8zURaK2xj0qX4KYSFPuvCKADCa0ULM2H4+E=",
            ),
            (
                "python rooms",
                Call::new("GET", "localhost:8480", "/rooms/a%20b%3Ac?api-version=2025-03-13"),
                "NJ9xyB3VyaXCZKKRQnEGpICz/vccvhrteEqu/YFxJA8=",
            ),
            (
                "python aio, wire not requoted",
                Call::new(
                    "POST",
                    "localhost:8480",
                    "/identities/8%3Aacs%3Ax%20y~/:issueAccessToken?api-version=2023-10-01&q=a%3Ab%20c%26",
                )
                .body("{}"),
                "TyGfp5wL3BflzBUkqQ6iN0ej0662ojwaOKIUI6a6/3s=",
            ),
            (
                "javascript",
                Call::new(
                    "GET",
                    "localhost:8480",
                    "/availablePhoneNumbers/countries/US/areaCodes?api-version=2025-06-01&locality=New%20York&q=a~(b)%27!*&empty",
                ),
                "qOt/3Pb5kTG7K1hYoZshhOWDyk0bMV3vcVE4lXJ4GGk=",
            ),
        ] {
            assert_eq!(call.signature(signature).verify(), Ok("dev"), "{name}");
        }
    }

    #[test]
    fn every_host_that_a_client_may_have_dialled_is_tried() {
        for signed in [
            "127.0.0.1:8480",
            "127.0.0.1:8480/",
            "LOCALHOST:8480",
            "gridpost.example:9000",
            "dev.communication.example:8480",
            "recordings.example",
        ] {
            let call = Call::new("GET", "127.0.0.1:8480", "/x?a=1")
                .header("x-ms-host", "recordings.example")
                .signed_as(signed, "/x?a=1");
            assert_eq!(call.verify(), Ok("dev"), "{signed}");
        }
    }

    #[test]
    fn the_host_name_of_another_resource_does_not_help() {
        let call = Call::new("GET", "127.0.0.1:8480", "/x")
            .signed_as("other.communication.example:8480", "/x");
        assert_eq!(call.verify(), Err(Denied::WrongSignature));
    }

    #[test]
    fn what_was_signed_for_another_request_is_denied() {
        let sent = |method, target| {
            Call::new(method, "h", target)
                .header("x-ms-host", "h")
                .signed_as("h", "/sms?a=1")
        };
        assert_eq!(sent("POST", "/sms?a=1").verify(), Ok("dev"));
        assert_eq!(
            sent("POST", "/sms?a=2").verify(),
            Err(Denied::WrongSignature)
        );
        assert_eq!(sent("POST", "/sms").verify(), Err(Denied::WrongSignature));
        assert_eq!(
            sent("POST", "/SMS?a=1").verify(),
            Err(Denied::WrongSignature)
        );
        let mut other_method = sent("POST", "/sms?a=1");
        other_method.method = "GET";
        assert_eq!(other_method.verify(), Err(Denied::WrongSignature));
    }

    #[test]
    fn a_changed_body_is_denied_in_the_documented_words() {
        let mut call = Call::new("POST", "h", "/sms")
            .body("{}")
            .signed_as("h", "/sms");
        call.body = "{ }";
        let denied = call.verify().unwrap_err();
        assert_eq!(denied, Denied::BodyDiffers);
        assert_eq!(
            denied.to_string(),
            "Request 'x-ms-content-sha256' differs from generated content hash."
        );
        // Nor does it help to send the hash of the new body.
        let call = call.header(
            "x-ms-content-sha256",
            &BASE64_STANDARD.encode(Sha256::digest("{ }")),
        );
        assert_eq!(call.verify(), Err(Denied::WrongSignature));
    }

    #[test]
    fn a_date_counts_within_five_minutes_on_either_side() {
        let call = Call::new("GET", "h", "/x").signed_as("h", "/x");
        let signed = Timestamp::from_http_date(DATE).unwrap();
        let just_outside = CLOCK_SKEW + Duration::from_secs(1);
        assert_eq!(call.verify_at(signed + CLOCK_SKEW), Ok("dev"));
        assert_eq!(call.verify_at(signed - CLOCK_SKEW), Ok("dev"));
        assert_eq!(call.verify_at(signed + just_outside), Err(Denied::Skewed));
        assert_eq!(call.verify_at(signed - just_outside), Err(Denied::Skewed));
    }

    #[test]
    fn the_headers_that_the_signature_names_are_the_ones_that_count() {
        let hash = BASE64_STANDARD.encode(Sha256::digest(""));
        let signature = sign(&format!("GET\n/x\nh;{DATE};{hash};extra"));
        let call = Call::new("GET", "h", "/x")
            .header("date", DATE)
            .header("x-ms-content-sha256", &hash)
            .header("x-ms-more", "extra")
            .header(
                "authorization",
                &format!(
                    "hmac-sha256 signedHeaders=Host;Date;X-MS-Content-Sha256;x-ms-more&signature={signature}"
                ),
            );
        assert_eq!(call.verify(), Ok("dev"));
        let altered = call.header("x-ms-more", "other");
        assert_eq!(altered.verify(), Err(Denied::WrongSignature));
    }

    #[test]
    fn date_host_and_body_must_be_signed() {
        let hash = BASE64_STANDARD.encode(Sha256::digest(""));
        for (names, text, missing) in [
            ("host;x-ms-content-sha256", format!("h;{hash}"), "x-ms-date"),
            (
                "x-ms-date;x-ms-content-sha256",
                format!("{DATE};{hash}"),
                "host",
            ),
            ("x-ms-date;host", format!("{DATE};h"), "x-ms-content-sha256"),
        ] {
            let signature = sign(&format!("GET\n/x\n{text}"));
            let call = Call::new("GET", "h", "/x").signature("AAAA").header(
                "authorization",
                &format!("HMAC-SHA256 SignedHeaders={names}&Signature={signature}"),
            );
            assert_eq!(call.verify(), Err(Denied::NotSigned(missing.into())));
        }
    }

    #[test]
    fn what_is_no_signature_says_what_is_wrong() {
        let with = |value: &str| {
            Call::new("GET", "h", "/x")
                .signature("")
                .header("authorization", value)
        };
        assert_eq!(
            Call::new("GET", "h", "/x").verify(),
            Err(Denied::NoCredential)
        );
        assert_eq!(with("Bearer x").verify(), Err(Denied::NoCredential));
        assert_eq!(
            with("HMAC-SHA256 nonsense").verify(),
            Err(Denied::Malformed)
        );
        assert_eq!(
            with("HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=%%")
                .verify(),
            Err(Denied::Malformed)
        );
        assert_eq!(
            Call::new("GET", "h", "/x")
                .signature("AAAA")
                .header("x-ms-date", "today")
                .verify(),
            Err(Denied::BadDate)
        );
    }

    #[test]
    fn targets_are_requoted_as_yarl_does() {
        for (sent, written) in [
            (
                "/a%20b%3Ac%7E%2F%2B%40?q=a%3Ab%20c%26+d%2B%3D%2F%3F%27(x)",
                "/a%20b:c~%2F%2B@?q=a:b%20c%26+d%2B%3D/?'(x)",
            ),
            (
                "/identities/8%3aacs%3ax(y)!$'*,;=%28/:x?a=b%7e",
                "/identities/8:acs:x(y)!$'*,;=(/:x?a=b~",
            ),
            (
                "/a%c3%a9?x=%C3%A9&y=%2a%21%25%22%3b",
                "/a%C3%A9?x=%C3%A9&y=*!%25%22%3B",
            ),
            ("/[]|?q=[]|", "/%5B%5D%7C?q=%5B%5D%7C"),
        ] {
            assert_eq!(requoted(sent), written);
        }
    }
}
