//! How often calls about identities and tokens may be made, when that is limited.
//!
//! Promise: the numbers are those of the service, for each resource.
//! Not here: how calls are counted (`crate::rates`).
//! Source: reference communication-services 5.

use crate::Comms;
use crate::identity::IdentityError;
use crate::rates::Limit;
use crate::resources::CommunicationService;

/// The length of the window, in seconds.
const WINDOW: u64 = 30;

/// A kind of call that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Create,
    /// Create an identity together with a token.
    CreateWithToken,
    Issue,
    Delete,
    Revoke,
    /// Exchange a token of Entra, also for a user of Teams.
    Exchange,
}

impl Call {
    const fn limit(self) -> Limit {
        let calls = match self {
            Self::Create | Self::CreateWithToken | Self::Issue => 1000,
            Self::Delete | Self::Revoke | Self::Exchange => 500,
        };
        Limit {
            calls,
            seconds: WINDOW,
        }
    }
}

impl Comms {
    /// Counts a call for a resource.
    pub(crate) fn count(
        &self,
        call: Call,
        service: &CommunicationService,
    ) -> Result<(), IdentityError> {
        let Some(limiter) = &self.0.rates.identity else {
            return Ok(());
        };
        let name = format!("{call:?} {}", service.immutable_id);
        let now = self.0.settings.clock.now();
        Ok(limiter.admit([(name.into(), call.limit())], now)?)
    }
}
