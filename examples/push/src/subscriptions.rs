//! The browsers that want to be told, kept in a file.
//!
//! Promise: `add` returns once the file has the subscription and survives a crash; the file is replaced as a whole.
//! Not here: how one is told (`push`).

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Uri;
use serde::{Deserialize, Serialize};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use crate::encryption::{AUTH_BYTES, POINT_BYTES};

/// The browsers of a team. All are told before Event Grid gives up waiting for an answer: see `push::AT_ONCE`.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 100;

/// One browser's `PushSubscription`, as `JSON.stringify` writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(crate) struct Subscription {
    endpoint: Uri,
    keys: Keys,
}

/// What a message is encrypted with: a point of the right length, and the shared secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    public_key: [u8; POINT_BYTES],
    auth: [u8; AUTH_BYTES],
}

/// What is wrong with a subscription.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSubscription {
    #[error("`endpoint` is neither an https address nor one of this machine")]
    Endpoint,
    #[error("`keys.p256dh` is not an uncompressed point of P-256 in base64url")]
    PublicKey,
    #[error("`keys.auth` is not {AUTH_BYTES} bytes in base64url")]
    Auth,
}

/// Why a subscription was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotKept {
    #[error(
        "there are {MAX_SUBSCRIPTIONS} subscriptions already, which is the most this example keeps"
    )]
    Full,
    #[error("the file of subscriptions cannot be written")]
    File(#[from] io::Error),
}

impl Subscription {
    /// Where the push service takes messages for this browser. Whoever knows it can try to push: it is a secret.
    pub(crate) fn endpoint(&self) -> &Uri {
        &self.endpoint
    }

    /// What to encrypt with.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }
}

impl Keys {
    /// Reads both as browsers write them.
    pub(crate) fn new(p256dh: &str, auth: &str) -> Result<Self, BadSubscription> {
        let public_key: [u8; POINT_BYTES] = decode(p256dh).ok_or(BadSubscription::PublicKey)?;
        // The mark of an uncompressed point (SEC 1, section 2.3.3).
        if public_key[0] != 4 {
            return Err(BadSubscription::PublicKey);
        }
        let auth = decode(auth).ok_or(BadSubscription::Auth)?;
        Ok(Self { public_key, auth })
    }

    /// The browser's public key.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The browser's authentication secret.
    pub(crate) fn auth(&self) -> &[u8] {
        &self.auth
    }
}

fn decode<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    bytes.ok()?.try_into().ok()
}

/// A subscription on the wire and in the file.
#[derive(Serialize, Deserialize)]
struct Written {
    endpoint: String,
    keys: WrittenKeys,
}

#[derive(Serialize, Deserialize)]
struct WrittenKeys {
    p256dh: String,
    auth: String,
}

impl TryFrom<Written> for Subscription {
    type Error = BadSubscription;

    fn try_from(written: Written) -> Result<Self, BadSubscription> {
        let endpoint: Uri = written
            .endpoint
            .parse()
            .map_err(|_| BadSubscription::Endpoint)?;
        if !is_allowed(&endpoint) {
            return Err(BadSubscription::Endpoint);
        }
        let keys = Keys::new(&written.keys.p256dh, &written.keys.auth)?;
        Ok(Self { endpoint, keys })
    }
}

impl From<Subscription> for Written {
    fn from(subscription: Subscription) -> Self {
        let encode = |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        Self {
            endpoint: subscription.endpoint.to_string(),
            keys: WrittenKeys {
                p256dh: encode(subscription.keys.public_key()),
                auth: encode(subscription.keys.auth()),
            },
        }
    }
}

/// A browser's push service speaks TLS; plain HTTP is for one on this machine, as in the test.
fn is_allowed(endpoint: &Uri) -> bool {
    let host = endpoint.host().unwrap_or_default();
    let is_here = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    match endpoint.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_here,
        _ => false,
    }
}

/// All of them.
pub(crate) struct Subscriptions {
    file: PathBuf,
    list: Mutex<Vec<Subscription>>,
}

impl Subscriptions {
    /// Reads the file, if there is one yet.
    pub(crate) async fn open(file: PathBuf) -> Result<Self> {
        let list = match fs::read(&file).await {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is no list of subscriptions", file.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", file.display()));
            }
        };
        Ok(Self {
            file,
            list: Mutex::new(list),
        })
    }

    /// Everyone to tell.
    pub(crate) async fn all(&self) -> Vec<Subscription> {
        self.list.lock().await.clone()
    }

    /// Keeps one. The same browser again replaces what was known of it.
    pub(crate) async fn add(&self, new: Subscription) -> Result<(), NotKept> {
        let mut list = self.list.lock().await;
        let mut next = without(&list, new.endpoint());
        if next.len() >= MAX_SUBSCRIPTIONS {
            return Err(NotKept::Full);
        }
        next.push(new);
        write(&self.file, &next).await?;
        *list = next;
        Ok(())
    }

    /// Forgets one, which its push service says is gone.
    pub(crate) async fn remove(&self, endpoint: &Uri) -> Result<(), NotKept> {
        let mut list = self.list.lock().await;
        let next = without(&list, endpoint);
        write(&self.file, &next).await?;
        *list = next;
        Ok(())
    }
}

fn without(list: &[Subscription], endpoint: &Uri) -> Vec<Subscription> {
    let others = list.iter().filter(|it| it.endpoint() != endpoint);
    others.cloned().collect()
}

/// A new file beside the old one, made durable, then moved over it.
async fn write(file: &Path, list: &[Subscription]) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut writer = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .await?;
    writer.write_all(&serde_json::to_vec_pretty(list)?).await?;
    writer.sync_all().await?;
    fs::rename(&new, file).await?;
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder).await?.sync_all().await
}

#[cfg(test)]
pub(crate) mod tests {
    use ring::agreement::{ECDH_P256, EphemeralPrivateKey};
    use ring::rand::SystemRandom;
    use serde_json::{Value, json};

    use super::*;

    fn written(endpoint: &str) -> Value {
        let key = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
        let point = key.compute_public_key().unwrap();
        json!({
            "endpoint": endpoint,
            "expirationTime": null,
            "keys": {
                "p256dh": BASE64_URL_SAFE_NO_PAD.encode(point.as_ref()),
                "auth": BASE64_URL_SAFE_NO_PAD.encode([7; AUTH_BYTES]),
            },
        })
    }

    /// A browser whose messages go to `endpoint`.
    pub(crate) fn subscription(endpoint: &str) -> Subscription {
        serde_json::from_value(written(endpoint)).unwrap()
    }

    #[tokio::test]
    async fn a_subscription_outlives_a_restart_and_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("subscriptions.json");
        let kept = Subscriptions::open(file.clone()).await.unwrap();
        kept.add(subscription("https://push.example.net/a"))
            .await
            .unwrap();
        let again = subscription("https://push.example.net/a");
        kept.add(again.clone()).await.unwrap();
        let reread = Subscriptions::open(file).await.unwrap();
        assert_eq!(reread.all().await, [again]);
    }

    #[tokio::test]
    async fn one_too_many_is_refused_and_a_removed_one_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("subscriptions.json");
        let kept = Subscriptions::open(file.clone()).await.unwrap();
        let address = |number: usize| format!("https://push.example.net/{number}");
        *kept.list.lock().await = (0..MAX_SUBSCRIPTIONS)
            .map(|number| subscription(&address(number)))
            .collect();
        let new = subscription("https://push.example.net/new");
        assert!(matches!(kept.add(new.clone()).await, Err(NotKept::Full)));
        kept.remove(&address(3).parse().unwrap()).await.unwrap();
        kept.add(new).await.unwrap();
        let reread = Subscriptions::open(file).await.unwrap().all().await;
        assert_eq!(reread.len(), MAX_SUBSCRIPTIONS);
    }

    #[test]
    fn what_browsers_never_send_is_refused_with_its_reason() {
        let refuse = |pointer: &str, value: &str| {
            let mut wrong = written("https://push.example.net/a");
            *wrong.pointer_mut(pointer).unwrap() = value.into();
            let error = serde_json::from_value::<Subscription>(wrong).unwrap_err();
            error.to_string()
        };
        for endpoint in [
            "http://push.example.net/a",
            "http://127.0.0.1.example.net/a",
            "ftp://localhost/a",
            "/a",
        ] {
            let error = refuse("/endpoint", endpoint);
            assert_eq!(error, BadSubscription::Endpoint.to_string(), "{endpoint}");
        }
        let point = BASE64_URL_SAFE_NO_PAD.encode([2; POINT_BYTES]);
        for key in ["", "*", "BAAA", point.as_str()] {
            let error = refuse("/keys/p256dh", key);
            assert_eq!(error, BadSubscription::PublicKey.to_string(), "{key}");
        }
        assert_eq!(
            refuse("/keys/auth", "AAAA"),
            BadSubscription::Auth.to_string()
        );
    }

    #[test]
    fn a_push_service_on_this_machine_needs_no_tls() {
        for endpoint in [
            "http://localhost:9/a",
            "http://127.0.0.1/a",
            "http://[::1]:9/a",
        ] {
            assert!(is_allowed(&endpoint.parse().unwrap()), "{endpoint}");
        }
    }
}
