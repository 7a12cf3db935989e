//! Whom commands act as.
//!
//! Promise: the principal that the environment names, and nobody else when there is one. What `gridpost env` exports is the
//! built-in principal of the data folder.
//! Not here: what it may do (the server judges that), signing in (`client`).

use crate::config::environment;
use crate::credentials::{self, Credentials};

/// Whom commands act as.
pub(super) enum Identity {
    /// A principal that somebody named, also where nobody has to be named.
    Named(Credentials),
    /// The built-in principal of a development folder.
    BuiltIn(Credentials),
    /// Whoever may read the data folder.
    ThisMachine,
}

impl Identity {
    /// The variables of `gridpost env` name the built-in principal, which is the folder's own: its secret may be another
    /// folder's by now.
    pub(super) fn choose(built_in: Option<Credentials>, named: Option<Credentials>) -> Self {
        match (built_in, named) {
            (Some(own), Some(named)) if named.client_id.eq_ignore_ascii_case(&own.client_id) => {
                Self::BuiltIn(own)
            }
            (_, Some(named)) => Self::Named(named),
            (Some(own), None) => Self::BuiltIn(own),
            (None, None) => Self::ThisMachine,
        }
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::Named(credentials) | Self::BuiltIn(credentials) => Some(credentials),
            Self::ThisMachine => None,
        }
    }
}

/// The principal that the environment names.
pub(super) fn named() -> Option<Credentials> {
    let given = environment("AZURE_CLIENT_ID").zip(environment("AZURE_CLIENT_SECRET"));
    given.map(|(client_id, secret)| credentials_of(client_id, &secret))
}

pub(super) fn credentials_of(client_id: String, secret: &str) -> Credentials {
    Credentials {
        tenant_id: credentials::TENANT.into(),
        subscription_id: credentials::SUBSCRIPTION.into(),
        client_id,
        client_secret: gridpost_model::Secret::new(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_act_as_whom_the_environment_names_and_else_as_the_folder_s_own() {
        let made = |client: &str, secret: &str| credentials_of(client.into(), secret);
        let own = || Some(made(credentials::CLIENT, "own"));
        let secret = |identity: Identity| {
            let secret = identity.credentials();
            secret.map(|one| one.client_secret.reveal().to_owned())
        };
        let reader = || Some(made("reader", "its"));
        let chosen = Identity::choose(own(), reader());
        assert!(matches!(&chosen, Identity::Named(_)));
        assert_eq!(secret(chosen).as_deref(), Some("its"));
        // What `gridpost env` printed, of another folder perhaps.
        let exported = Some(made(credentials::CLIENT, "stale"));
        let chosen = Identity::choose(own(), exported);
        assert!(matches!(&chosen, Identity::BuiltIn(_)));
        assert_eq!(secret(chosen).as_deref(), Some("own"));
        assert_eq!(
            secret(Identity::choose(own(), None)).as_deref(),
            Some("own")
        );
        assert_eq!(
            secret(Identity::choose(None, reader())).as_deref(),
            Some("its")
        );
        let nobody = Identity::choose(None, None);
        assert!(matches!(nobody, Identity::ThisMachine));
    }
}
