//! Shared Key: the signature of a request to a storage account.
//!
//! Promise: the text that is signed is the one the service builds from the request it receives.
//! Source: "Authorize with Shared Key" of the storage service, versions since 2015-02-21.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gridpost_model::Timestamp;
use hmac::{Hmac, Mac as _};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::Sha256;
use url::Url;

use super::{StorageAccount, VERSION};

const DATE: HeaderName = HeaderName::from_static("x-ms-date");
const SERVICE_VERSION: HeaderName = HeaderName::from_static("x-ms-version");

pub(super) fn sign(
    account: &StorageAccount,
    method: &Method,
    url: &Url,
    headers: &mut HeaderMap,
    body_bytes: usize,
    now: Timestamp,
) {
    headers.insert(SERVICE_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(DATE, header(&now.http_date()));
    let text = signed_text(&account.name, method, url, headers, body_bytes);
    let mut mac =
        Hmac::<Sha256>::new_from_slice(&account.key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    headers.insert(
        AUTHORIZATION,
        header(&format!("SharedKey {}:{signature}", account.name)),
    );
}

/// What cannot stand in a header is left out; the service then refuses the request, which is the truth about it.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn signed_text(
    account: &str,
    method: &Method,
    url: &Url,
    headers: &HeaderMap,
    body_bytes: usize,
) -> String {
    let length = match body_bytes {
        0 => String::new(),
        bytes => bytes.to_string(),
    };
    let content_type = text_of(headers, &CONTENT_TYPE);
    // Verb, encoding, language, length, MD5, type, date, four conditions, range.
    let mut text = format!("{method}\n\n\n{length}\n\n{content_type}\n\n\n\n\n\n\n");
    let mut ours: Vec<&HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-ms-"))
        .collect();
    ours.sort_unstable_by_key(|name| name.as_str());
    for name in ours {
        text.extend([name.as_str(), ":", text_of(headers, name).trim(), "\n"]);
    }
    text.extend(["/", account, url.path()]);
    let mut query: Vec<_> = url
        .query_pairs()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    query.sort_unstable();
    for (name, value) in &query {
        text.extend(["\n", name, ":", value]);
    }
    text
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_is_the_documented_one() {
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-version", HeaderValue::from_static("2015-02-21"));
        headers.insert(
            "x-ms-date",
            HeaderValue::from_static("Fri, 26 Jun 2015 23:39:12 GMT"),
        );
        let url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20";
        let text = signed_text(
            "myaccount",
            &Method::GET,
            &url.parse().unwrap(),
            &headers,
            0,
        );
        assert_eq!(
            text,
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
             /myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
        );
    }

    #[test]
    fn a_body_and_its_type_are_signed() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        let url = "http://127.0.0.1:10001/devstoreaccount1/q/messages"
            .parse()
            .unwrap();
        let text = signed_text("devstoreaccount1", &Method::POST, &url, &headers, 17);
        assert_eq!(
            text,
            "POST\n\n\n17\n\napplication/xml\n\n\n\n\n\n\n/devstoreaccount1/devstoreaccount1/q/messages"
        );
    }

    #[test]
    fn a_signed_request_names_its_account() {
        let account = StorageAccount::from_connection_string("UseDevelopmentStorage=true").unwrap();
        let mut headers = HeaderMap::new();
        let url = "http://127.0.0.1:10001/devstoreaccount1/q".parse().unwrap();
        account.sign(&Method::PUT, &url, &mut headers, 0, Timestamp::EPOCH);
        assert_eq!(headers["x-ms-date"], "Thu, 01 Jan 1970 00:00:00 GMT");
        let authorization = headers["authorization"].to_str().unwrap();
        let signature = authorization
            .strip_prefix("SharedKey devstoreaccount1:")
            .unwrap();
        assert_eq!(STANDARD.decode(signature).unwrap().len(), 32);
    }
}
