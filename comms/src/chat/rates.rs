//! How often chat calls may be made, when that is limited.
//!
//! Promise: the numbers are those of the service's published limits. Only who is in a thread uses up what is allowed
//! there.
//! Not here: how calls are counted (`crate::rates`).
//! Source: reference communication-services 7; the whole table is on the service's page of limits.

use crate::chat::{Chat, ChatError};
use crate::rates::Limit;

/// A kind of call that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    CreateThread,
    DeleteThread,
    UpdateThread,
    /// Add or remove participants.
    ChangeParticipants,
    /// Get one thread, or list threads.
    ReadThreads,
    ReadMessage,
    ListMessages,
    ListReceipts,
    ListParticipants,
    /// Send, edit or delete a message.
    Say,
    SendReceipt,
    SendTyping,
}

/// Together with whom a call is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    /// With all of the user's.
    User,
    /// With the user's in this thread.
    UserInThread,
    /// With everybody's in this thread.
    Thread,
}

impl Call {
    /// With whom it is counted, how many pass in 10 seconds, and how many in a minute.
    const fn limits(self) -> &'static [(With, u32, Option<u32>)] {
        use With::{Thread, User, UserInThread};
        match self {
            Self::CreateThread | Self::DeleteThread => &[(User, 10, None)],
            Self::UpdateThread => &[(Thread, 5, None)],
            Self::ReadThreads => &[(User, 50, None)],
            Self::ReadMessage => &[(UserInThread, 50, None), (Thread, 250, None)],
            Self::ListMessages => &[(UserInThread, 50, Some(200)), (Thread, 250, Some(400))],
            Self::ListReceipts => &[(UserInThread, 5, None), (Thread, 100, None)],
            Self::ListParticipants => &[(UserInThread, 10, None), (Thread, 250, None)],
            Self::ChangeParticipants | Self::Say => &[(Thread, 10, Some(30))],
            Self::SendReceipt => &[(UserInThread, 10, Some(30))],
            Self::SendTyping => &[(UserInThread, 5, Some(15)), (Thread, 10, Some(30))],
        }
    }
}

impl Chat<'_> {
    /// Counts a call of somebody who was seen to be in the thread; `thread` is empty for calls about no thread.
    pub(crate) fn count(&self, call: Call, thread: &str) -> Result<(), ChatError> {
        let Some(limiter) = &self.inner.rates.chat else {
            return Ok(());
        };
        let user = self.user.id.as_str();
        let name = |with| -> Box<str> {
            match with {
                With::User => format!("{call:?} {user}"),
                With::UserInThread => format!("{call:?} {user} {thread}"),
                With::Thread => format!("{call:?} {thread}"),
            }
            .into()
        };
        let limits = call.limits().iter().flat_map(|(with, few, most)| {
            let few = Some(Limit {
                calls: *few,
                seconds: 10,
            });
            let most = most.map(|calls| Limit { calls, seconds: 60 });
            let both = few.into_iter().chain(most);
            both.map(|limit| (name(*with), limit))
        });
        Ok(limiter.admit(limits, self.inner.settings.clock.now())?)
    }

    /// Counts a call that changes something in a thread, if its caller is in it.
    pub(crate) fn count_member(&self, call: Call, thread: &str) -> Result<(), ChatError> {
        if self.inner.rates.chat.is_some() {
            self.as_member(thread)?;
        }
        self.count(call, thread)
    }
}
