//! A message that only one browser can read: RFC 8291, over the content coding `aes128gcm` of RFC 8188.
//!
//! Promise: the push service in between sees no more than the length. Every message has a key pair and a salt of its own.
//! Not here: who may push (`vapid`), and the request (`push`).

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use crate::subscriptions::Keys;

/// A point of P-256, uncompressed, as browsers hand it out.
pub(crate) const POINT_BYTES: usize = 65;

/// The secret that browser and server share beside the keys (RFC 8291, section 3.2).
pub(crate) const AUTH_BYTES: usize = 16;

const SALT_BYTES: usize = 16;

/// What every push service takes in one message (RFC 8030, section 7.2); one record holds all of it.
const RECORD_BYTES: u32 = 4096;

/// Salt, record size, length of the key, key (RFC 8188, section 2.1).
const HEADER_BYTES: usize = SALT_BYTES + 4 + 1 + POINT_BYTES;

/// Marks the last record (RFC 8188, section 2); no padding follows it.
const LAST_RECORD: u8 = 2;

/// The longest text that fits one message (RFC 8291, section 4): beside it are header, delimiter and tag.
pub(crate) const MAX_TEXT_BYTES: usize = RECORD_BYTES as usize - HEADER_BYTES - 1 - 16;

/// Nothing was encrypted: the browser's key is no point of the curve, or the text is too long.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be encrypted for this browser")]
pub(crate) struct Unencryptable;

impl From<Unspecified> for Unencryptable {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// Encrypts `text` for the browser with these keys; the result is the body of the push.
pub(crate) fn encrypt(receiver: &Keys, text: &[u8]) -> Result<Vec<u8>, Unencryptable> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Unencryptable);
    }
    let random = SystemRandom::new();
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt)?;
    let own = EphemeralPrivateKey::generate(&ECDH_P256, &random)?;
    let sender = own.compute_public_key()?;
    let theirs = UnparsedPublicKey::new(&ECDH_P256, receiver.public_key());
    agree_ephemeral(own, &theirs, |secret| {
        seal(secret, receiver, sender.as_ref(), &salt, text)
    })?
}

/// The part without chance: everything that follows from the agreed secret and the salt.
fn seal(
    secret: &[u8],
    receiver: &Keys,
    sender: &[u8],
    salt: &[u8],
    text: &[u8],
) -> Result<Vec<u8>, Unencryptable> {
    let (key, nonce) = derive(secret, receiver, sender, salt)?;
    let mut record = text.to_vec();
    record.push(LAST_RECORD);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record)?;

    let mut body = Vec::with_capacity(HEADER_BYTES + record.len());
    body.extend_from_slice(salt);
    body.extend_from_slice(&RECORD_BYTES.to_be_bytes());
    body.extend(u8::try_from(sender.len()));
    body.extend_from_slice(sender);
    body.append(&mut record);
    Ok(body)
}

/// RFC 8291, section 3.4: the agreed secret is bound to both public keys, then key and nonce come from the salt.
fn derive(
    secret: &[u8],
    receiver: &Keys,
    sender: &[u8],
    salt: &[u8],
) -> Result<(LessSafeKey, Nonce), Unspecified> {
    let mut bound = [0; 32];
    Salt::new(HKDF_SHA256, receiver.auth())
        .extract(secret)
        .expand(
            &[b"WebPush: info\0", receiver.public_key(), sender],
            Bytes(bound.len()),
        )?
        .fill(&mut bound)?;

    let keys = Salt::new(HKDF_SHA256, salt).extract(&bound);
    let key = UnboundKey::from(keys.expand(&[b"Content-Encoding: aes128gcm\0"], &AES_128_GCM)?);
    let mut nonce = [0; NONCE_LEN];
    keys.expand(&[b"Content-Encoding: nonce\0"], Bytes(NONCE_LEN))?
        .fill(&mut nonce)?;
    Ok((LessSafeKey::new(key), Nonce::assume_unique_for_key(nonce)))
}

/// How many bytes to derive.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// Opens a body as a browser does, with what it agreed on.
    fn open(secret: &[u8], receiver: &Keys, body: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let (header, record) = body.split_at(HEADER_BYTES);
        let (salt, sender) = (&header[..SALT_BYTES], &header[SALT_BYTES + 5..]);
        let (key, nonce) = derive(secret, receiver, sender, salt)?;
        let mut record = record.to_vec();
        let text = key.open_in_place(nonce, Aad::empty(), &mut record)?;
        assert_eq!(text.last(), Some(&LAST_RECORD));
        Ok(text[..text.len() - 1].to_vec())
    }

    #[test]
    fn rfc_8291_appendix_a_the_example_comes_out_byte_for_byte() {
        let receiver = Keys::new(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "BTBZMqHH6r4Tts7J_aSIgg",
        )
        .unwrap();
        let body = seal(
            &bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs"),
            &receiver,
            &bytes("BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"),
            &bytes("DGv6ra1nlYgDCS1FRnbzlw"),
            b"When I grow up, I want to be a watermelon",
        )
        .unwrap();
        assert_eq!(
            BASE64_URL_SAFE_NO_PAD.encode(body),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6Tlz\
             AC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        );
    }

    #[test]
    fn the_browser_reads_what_was_encrypted_for_it_and_nobody_changed() {
        let random = SystemRandom::new();
        let browser = EphemeralPrivateKey::generate(&ECDH_P256, &random).unwrap();
        let public = browser.compute_public_key().unwrap();
        let receiver = Keys::new(
            &BASE64_URL_SAFE_NO_PAD.encode(public.as_ref()),
            "BTBZMqHH6r4Tts7J_aSIgg",
        )
        .unwrap();
        let text = vec![b'x'; MAX_TEXT_BYTES];
        let body = encrypt(&receiver, &text).unwrap();
        assert_eq!(body.len(), RECORD_BYTES as usize, "one full record");

        let sender = &body[SALT_BYTES + 5..HEADER_BYTES];
        let sender = UnparsedPublicKey::new(&ECDH_P256, sender.to_vec());
        agree_ephemeral(browser, &sender, |secret| {
            assert_eq!(open(secret, &receiver, &body).unwrap(), text);
            let mut changed = body.clone();
            changed[HEADER_BYTES] ^= 1;
            assert!(open(secret, &receiver, &changed).is_err());
        })
        .unwrap();
    }

    #[test]
    fn a_text_beyond_one_message_and_a_key_off_the_curve_are_errors() {
        let point = [&[4][..], &[1; 64]].concat();
        let receiver = Keys::new(
            &BASE64_URL_SAFE_NO_PAD.encode(point),
            "BTBZMqHH6r4Tts7J_aSIgg",
        )
        .unwrap();
        assert!(encrypt(&receiver, &[0; MAX_TEXT_BYTES + 1]).is_err());
        assert!(encrypt(&receiver, b"short").is_err());
    }
}
