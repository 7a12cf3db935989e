//! Storage accounts: their name, their key, where their services are, and how a request is signed.
//!
//! Promise: a connection string is understood whole or refused with what is wrong; the key never leaves the type but
//! as a signature.
//! Not here: which resource an account is (`connections`), what is written into it (`destination::storage_queue`,
//! `dead_letter_blob`).
//! Source: the connection string and Shared Key pages of the storage service.

mod signature;

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gridpost_model::Timestamp;
use http::{HeaderMap, Method};

/// The version of the storage services that our requests are written for.
pub(crate) const VERSION: &str = "2021-12-02";

/// A storage account that may be written to.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageAccount {
    name: Box<str>,
    key: Box<[u8]>,
    blobs: Box<str>,
    queues: Box<str>,
}

/// A text that is not the connection string of a storage account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConnectionString {
    /// A part is not `Name=value`.
    #[error("it is not of the form Name=value;Name=value")]
    Malformed,
    /// A part has a name that means nothing to us.
    #[error("it has the unknown part '{0}'")]
    Unknown(String),
    /// A part is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// The key is not base64.
    #[error("its AccountKey is not base64")]
    BadKey,
    /// A shared access signature instead of a key.
    #[error("shared access signatures are not supported; use the one with an AccountKey")]
    SharedAccessSignature,
}

/// The emulator's well-known account. Its key is published and protects nothing.
const DEVELOPMENT: &str = "AccountName=devstoreaccount1;\
    AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;\
    BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;\
    QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1";

impl StorageAccount {
    /// Reads a connection string, as the portal and `az storage account show-connection-string` write it.
    ///
    /// # Errors
    /// It is not one, or lacks the key.
    pub fn from_connection_string(text: &str) -> Result<Self, BadConnectionString> {
        let parts = parts(text)?;
        let part = |name: &str| parts.get(&*name.to_ascii_lowercase()).copied();
        if part("UseDevelopmentStorage").is_some_and(|on| on.eq_ignore_ascii_case("true")) {
            return Self::from_connection_string(DEVELOPMENT);
        }
        if part("SharedAccessSignature").is_some() {
            return Err(BadConnectionString::SharedAccessSignature);
        }
        let name = part("AccountName").ok_or(BadConnectionString::Missing("AccountName"))?;
        let key = part("AccountKey").ok_or(BadConnectionString::Missing("AccountKey"))?;
        let key = STANDARD
            .decode(key)
            .map_err(|_| BadConnectionString::BadKey)?;
        let scheme = part("DefaultEndpointsProtocol").unwrap_or("https");
        let suffix = part("EndpointSuffix").unwrap_or("core.windows.net");
        let service = |setting: &str, service: &str| match part(setting) {
            Some(given) => given.trim_end_matches('/').into(),
            None => format!("{scheme}://{name}.{service}.{suffix}").into(),
        };
        Ok(Self {
            blobs: service("BlobEndpoint", "blob"),
            queues: service("QueueEndpoint", "queue"),
            name: name.into(),
            key: key.into(),
        })
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its blobs are: a URL without a slash at its end.
    pub fn blobs(&self) -> &str {
        &self.blobs
    }

    /// Where its queues are: a URL without a slash at its end.
    pub fn queues(&self) -> &str {
        &self.queues
    }

    /// Adds the date, the version and the signature to a request's headers. `url` is whole, as it is sent.
    pub fn sign(
        &self,
        method: &Method,
        url: &url::Url,
        headers: &mut HeaderMap,
        body_bytes: usize,
        now: Timestamp,
    ) {
        signature::sign(self, method, url, headers, body_bytes, now);
    }
}

/// The parts by name, in lower case.
fn parts(text: &str) -> Result<HashMap<String, &str>, BadConnectionString> {
    const KNOWN: [&str; 7] = [
        "usedevelopmentstorage",
        "developmentstorageproxyuri",
        "defaultendpointsprotocol",
        "accountname",
        "accountkey",
        "endpointsuffix",
        "sharedaccesssignature",
    ];
    let mut found = HashMap::new();
    for part in text.trim().split(';').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or(BadConnectionString::Malformed)?;
        let folded = name.trim().to_ascii_lowercase();
        if !KNOWN.contains(&&*folded) && !folded.ends_with("endpoint") {
            return Err(BadConnectionString::Unknown(name.to_owned()));
        }
        found.insert(folded, value.trim());
    }
    Ok(found)
}

impl fmt::Debug for StorageAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageAccount({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<StorageAccount, BadConnectionString> {
        StorageAccount::from_connection_string(text)
    }

    #[test]
    fn what_the_portal_writes_is_understood() {
        let account = read(
            "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=a2V5;EndpointSuffix=core.windows.net",
        )
        .unwrap();
        assert_eq!(account.name(), "acct");
        assert_eq!(account.blobs(), "https://acct.blob.core.windows.net");
        assert_eq!(account.queues(), "https://acct.queue.core.windows.net");
        assert_eq!(&*account.key, b"key");
    }

    #[test]
    fn endpoints_that_are_given_win() {
        let account = read(
            "AccountName=a;AccountKey=a2V5;BlobEndpoint=http://localhost:1/a/;QueueEndpoint=http://localhost:2/a;\
             TableEndpoint=http://localhost:3/a;",
        )
        .unwrap();
        assert_eq!(account.blobs(), "http://localhost:1/a");
        assert_eq!(account.queues(), "http://localhost:2/a");
    }

    #[test]
    fn the_emulator_has_a_short_name() {
        let account = read("UseDevelopmentStorage=true").unwrap();
        assert_eq!(account.name(), "devstoreaccount1");
        assert_eq!(account.queues(), "http://127.0.0.1:10001/devstoreaccount1");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let table = [
            ("nonsense", BadConnectionString::Malformed),
            (
                "AccountKey=a2V5",
                BadConnectionString::Missing("AccountName"),
            ),
            ("AccountName=a", BadConnectionString::Missing("AccountKey")),
            ("AccountName=a;AccountKey=!", BadConnectionString::BadKey),
            (
                "AccountNme=a",
                BadConnectionString::Unknown("AccountNme".into()),
            ),
            (
                "BlobEndpoint=https://a;SharedAccessSignature=sv=1",
                BadConnectionString::SharedAccessSignature,
            ),
        ];
        for (text, expected) in table {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        let account = read("AccountName=a;AccountKey=c2VjcmV0").unwrap();
        assert_eq!(format!("{account:?}"), "StorageAccount(a)");
    }
}
