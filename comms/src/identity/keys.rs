//! The keys that sign users' tokens.
//!
//! Promise: a new key is made every 30 days and is kept before it signs; a token stays good for its whole life after
//! its key was replaced. Keys live in the store, as the rest of what is promised does.
//! Not here: the keys of the token endpoint of Resource Manager (`api::token`).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use gridpost_model::{Secret, Timestamp};
use gridpost_store::{Partition, Scan, Store, StoreError, WriteError};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use tokio::sync::Mutex;

use super::claims::Claims;
use super::issue::LONGEST_LIFETIME;
use super::rows::KeptKey;
use crate::identity::IdentityError;
use crate::tables;

/// How long a key signs. What it costs to find a stolen key useless is a month of waiting at most.
const SIGNS_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// How many tokens are remembered: those of so many users who are active at once, in about 5 MB. Only tokens that we
/// signed are, so a stranger cannot push them out.
const REMEMBERED: usize = 10_000;

/// The keys, oldest first.
pub(crate) struct Keys {
    all: RwLock<Vec<Arc<Key>>>,
    /// What tokens say whose signatures were found right, by their digests. To look at a signature takes 60 us, more
    /// than all else that is done for a chat message.
    remembered: Cache<[u8; 32], Reading>,
    /// Held while a key is made.
    making: Mutex<()>,
}

/// What was read from a token.
#[derive(Clone)]
struct Reading {
    claims: Claims,
    key: Arc<Key>,
}

/// A public key, as a JSON web key names its parts. ECDSA on P-256 with SHA-256 (`ES256`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// `kid`.
    pub id: String,
    /// `x`.
    pub x: String,
    /// `y`.
    pub y: String,
}

pub(crate) struct Key {
    signing: EncodingKey,
    verifying: DecodingKey,
    public: PublicKey,
    made: Timestamp,
}

impl Keys {
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let rows =
            store
                .snapshot()
                .scan(&tables::IDENTITY_KEYS, Partition::DIRECTORY, Scan::all())?;
        let mut all = rows
            .into_iter()
            .map(|(_, row)| Key::from_row(&row).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| StoreError::Codec {
                what: "a key that signs tokens",
                why: why.into(),
            })?;
        all.sort_by_key(|key| key.made);
        Ok(Self::of(all))
    }

    fn of(all: Vec<Arc<Key>>) -> Self {
        Self {
            all: RwLock::new(all),
            remembered: Cache::new(REMEMBERED),
            making: Mutex::default(),
        }
    }

    /// The key to sign with now; a fresh one when there is none or the last one has signed long enough.
    pub(crate) async fn current(
        &self,
        store: &Store,
        now: Timestamp,
    ) -> Result<Arc<Key>, IdentityError> {
        if let Some(key) = self.young(now) {
            return Ok(key);
        }
        let _making = self.making.lock().await;
        if let Some(key) = self.young(now) {
            return Ok(key);
        }
        match self.make(store, now).await {
            Ok(key) => Ok(key),
            // An old key is better than no token.
            Err(error) => self.all.read().last().cloned().ok_or(error),
        }
    }

    fn young(&self, now: Timestamp) -> Option<Arc<Key>> {
        let all = self.all.read();
        all.last()
            .filter(|key| now.since(key.made) < SIGNS_FOR)
            .cloned()
    }

    async fn make(&self, store: &Store, now: Timestamp) -> Result<Arc<Key>, IdentityError> {
        let row = generate(now).map_err(IdentityError::NotSigned)?;
        let key = Arc::new(Key::from_row(&row).map_err(IdentityError::NotSigned)?);
        let id = key.public.id.clone();
        let useless = self.useless(now);
        store
            .write(Partition::DIRECTORY, move |txn| {
                for id in useless {
                    txn.remove(&tables::IDENTITY_KEYS, id)?;
                }
                txn.put(&tables::IDENTITY_KEYS, id, &row)
            })
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        let mut all = self.all.write();
        let kept = in_use(&all, now).to_vec();
        *all = kept;
        all.push(Arc::clone(&key));
        tracing::info!("user tokens are signed with a new key from now on");
        Ok(key)
    }

    fn useless(&self, now: Timestamp) -> Vec<String> {
        let all = self.all.read();
        let useless = all.len() - in_use(&all, now).len();
        all[..useless]
            .iter()
            .map(|key| key.public.id.clone())
            .collect()
    }

    /// The keys with which a good token may be signed.
    pub(crate) fn public(&self, now: Timestamp) -> Vec<PublicKey> {
        in_use(&self.all.read(), now)
            .iter()
            .map(|key| key.public.clone())
            .collect()
    }

    /// What a token says, when one of our keys signed it. Whether it is still good is for the caller to judge.
    pub(crate) fn claims_of(&self, token: &str, now: Timestamp) -> Option<Claims> {
        let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        let digest: [u8; 32] = digest.as_ref().try_into().ok()?;
        if let Some(read) = self.remembered.get(&digest) {
            let all = self.all.read();
            let signs = in_use(&all, now)
                .iter()
                .any(|key| Arc::ptr_eq(key, &read.key));
            return signs.then_some(read.claims);
        }
        let read = self.look_at(token, now)?;
        self.remembered.insert(digest, read.clone());
        Some(read.claims)
    }

    fn look_at(&self, token: &str, now: Timestamp) -> Option<Reading> {
        let id = jsonwebtoken::decode_header(token).ok()?.kid?;
        let key = in_use(&self.all.read(), now)
            .iter()
            .find(|key| key.public.id == id)
            .cloned()?;
        let mut rules = Validation::new(Algorithm::ES256);
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        let claims = jsonwebtoken::decode(token, &key.verifying, &rules)
            .ok()?
            .claims;
        Some(Reading { claims, key })
    }
}

/// The keys whose tokens may still live: the last one, and those that were replaced less than a token's life ago.
fn in_use(all: &[Arc<Key>], now: Timestamp) -> &[Arc<Key>] {
    let replaced = all.iter().skip(1).map(|next| next.made);
    let useless = replaced
        .take_while(|at| LONGEST_LIFETIME <= now.since(*at))
        .count();
    &all[useless..]
}

fn generate(made: Timestamp) -> Result<KeptKey, &'static str> {
    let random = ring::rand::SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        .map_err(|_| "the operating system gave no randomness")?;
    Ok(KeptKey {
        pkcs8: Secret::new(BASE64_STANDARD.encode(document.as_ref())),
        made,
    })
}

impl Key {
    fn from_row(row: &KeptKey) -> Result<Self, &'static str> {
        const BAD: &str = "it is not a P-256 key in PKCS#8 form";
        let pkcs8 = BASE64_STANDARD
            .decode(row.pkcs8.reveal())
            .map_err(|_| BAD)?;
        let random = ring::rand::SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random)
            .map_err(|_| BAD)?;
        // An uncompressed point: 0x04, then x and y of 32 bytes each.
        let point = pair.public_key().as_ref();
        let (x, y) = point
            .get(1..)
            .and_then(|xy| xy.split_at_checked(32))
            .ok_or(BAD)?;
        let thumbprint = ring::digest::digest(&ring::digest::SHA256, point);
        let public = PublicKey {
            id: BASE64_URL_SAFE_NO_PAD.encode(&thumbprint.as_ref()[..16]),
            x: BASE64_URL_SAFE_NO_PAD.encode(x),
            y: BASE64_URL_SAFE_NO_PAD.encode(y),
        };
        Ok(Self {
            signing: EncodingKey::from_ec_der(&pkcs8),
            verifying: DecodingKey::from_ec_components(&public.x, &public.y).map_err(|_| BAD)?,
            public,
            made: row.made,
        })
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, IdentityError> {
        let header = Header {
            kid: Some(self.public.id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, claims, &self.signing)
            .map_err(|_| IdentityError::NotSigned("signing failed"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn key(made: Timestamp) -> Arc<Key> {
        Arc::new(Key::from_row(&generate(made).unwrap()).unwrap())
    }

    #[test]
    fn a_key_is_in_use_for_a_tokens_life_after_it_was_replaced() {
        let all = [key(START), key(START + 30 * DAY), key(START + 60 * DAY)];
        let table = [(0, 3), (30, 3), (31, 2), (60, 2), (61, 1), (400, 1)];
        for (days, used) in table {
            assert_eq!(in_use(&all, START + days * DAY).len(), used, "{days}");
        }
        assert!(in_use(&[], START).is_empty());
    }

    #[test]
    fn a_token_that_was_read_is_read_again_as_long_as_its_key_is_in_use() {
        let keys = Keys::of(vec![key(START), key(START + 30 * DAY)]);
        let sign = |key: &Key| {
            let claims = json!({
                "skypeid": "acs:a", "scp": 1792, "csi": "1", "exp": 1, "acsScope": "chat", "resourceId": "a",
                "resourceLocation": "europe", "iat": 1,
            });
            key.sign(&serde_json::from_value(claims).unwrap()).unwrap()
        };
        let signed: Vec<String> = keys.all.read().iter().map(|key| sign(key)).collect();
        let [old, new] = signed.as_slice() else {
            unreachable!()
        };
        let signature = new.rsplit_once('.').unwrap().1;
        let forged = format!("{}.{signature}", old.rsplit_once('.').unwrap().0);
        for (days, old_is_good) in [(30, true), (30, true), (31, false), (31, false), (30, true)] {
            let now = START + days * DAY;
            assert_eq!(keys.claims_of(old, now).is_some(), old_is_good, "{days}");
            assert!(keys.claims_of(new, now).is_some());
            assert!(keys.claims_of(&forged, now).is_none());
        }
    }

    #[test]
    fn a_kept_key_is_the_same_key() {
        let row = generate(START).unwrap();
        let (one, other) = (Key::from_row(&row).unwrap(), Key::from_row(&row).unwrap());
        assert_eq!(one.public, other.public);
        let cut = KeptKey {
            pkcs8: Secret::new("AAAA"),
            made: START,
        };
        assert!(Key::from_row(&cut).is_err());
    }
}
