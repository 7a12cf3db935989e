//! An identity goes.
//!
//! Promise: its tokens are refused from the transaction on that removes it, and whatever else of it other services
//! keep goes in the same transaction.
//! Source: reference communication-services 5.

use std::sync::Arc;

use gridpost_model::Timestamp;
use gridpost_store::{Scan, StoreError, Txn, WriteError};

use super::rates::Call;
use super::register::check_owner;
use super::rows::{self, Identity};
use crate::agenda::Wake;
use crate::chat::live::Ring;
use crate::chat::participants;
use crate::identity::{IdentityError, UserId};
use crate::resources::CommunicationService;
use crate::{Comms, tables};

/// Identities of a deleted resource removed at once: some 100 KB of journal.
const AT_ONCE: usize = 1000;

impl Comms {
    /// Deletes an identity. Deleting one that is gone changes nothing, so that a client may ask again.
    ///
    /// # Errors
    /// It is of another resource, or the change could not be kept.
    pub async fn delete_identity(
        &self,
        service: &Arc<CommunicationService>,
        id: &UserId,
    ) -> Result<(), IdentityError> {
        check_owner(service, id)?;
        self.count(Call::Delete, service)?;
        let (id, ring) = (id.clone(), Ring::new(&self.0.live, id));
        let now = self.0.settings.clock.now();
        let mut wake = Wake::new(&self.0.agenda, service.partition());
        self.0
            .store
            .write(service.partition(), move |txn| {
                if let Some(row) = txn.get(&tables::IDENTITIES, rows::key(&id))? {
                    remove(txn, &row, now, &mut wake)?;
                }
                Ok((wake, ring))
            })
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        Ok(())
    }

    /// Removes some identities of a resource that is being deleted, as many as fit a transaction; tells how many. The
    /// resource tells nobody what its end does to its threads, so nobody else is told here.
    pub(crate) async fn forget_identities(
        &self,
        service: &Arc<CommunicationService>,
    ) -> Result<usize, StoreError> {
        let service = Arc::clone(service);
        let removed = self
            .0
            .store
            .write(service.partition(), move |txn| {
                let of_resource = Scan::prefix(service.immutable_id.as_str()).limit(AT_ONCE);
                let found = txn.scan(&tables::IDENTITIES, of_resource)?;
                for (_, row) in &found {
                    remove_rows(txn, row)?;
                }
                Ok(found.len())
            })
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        Ok(removed.into_inner())
    }
}

/// What goes with an identity. Services that keep something of users have their line here.
fn remove(
    txn: &mut Txn<'_>,
    row: &Identity,
    now: Timestamp,
    wake: &mut Wake,
) -> Result<(), StoreError> {
    participants::owe_departure(txn, &row.id, now, wake)?;
    remove_rows(txn, row)
}

fn remove_rows(txn: &mut Txn<'_>, row: &Identity) -> Result<(), StoreError> {
    if let Some(name) = &row.name {
        txn.remove(&tables::IDENTITY_NAMES, (row.id.resource(), name.text()))?;
    }
    txn.remove(&tables::IDENTITIES, row.key())
}
