//! HMAC signatures of communication clients.
