//! Phone numbers and short codes, and whose they are.
//!
//! Promise: a number belongs to at most one resource; it stays there until it is released or the resource is deleted.
//! Not here: buying numbers and their capabilities.

use gridpost_model::{PhoneNumber, ResourceId, Timestamp};
use gridpost_store::{Partition, StoreError};
use serde::{Deserialize, Serialize};

use crate::{Comms, tables};

/// A number and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The number.
    pub number: PhoneNumber,
    /// The resource it belongs to.
    pub resource: ResourceId,
    /// Since when.
    pub since: Timestamp,
}

/// Why a number was not assigned.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// There is no such resource.
    #[error("there is no communication resource {0}")]
    NoSuchResource(ResourceId),
    /// The number belongs to another resource.
    #[error("the number belongs to {0}")]
    Taken(ResourceId),
    /// Nothing was changed, because it could not be kept.
    #[error("the number was not stored")]
    NotStored(#[from] StoreError),
}

impl Comms {
    /// Gives a number to a resource. Giving it again changes nothing.
    ///
    /// # Errors
    /// There is no such resource, or the number belongs to another one.
    pub async fn assign(
        &self,
        resource: &ResourceId,
        number: PhoneNumber,
    ) -> Result<Assignment, AssignError> {
        let comms = self.clone();
        let resource = resource.clone();
        self.0
            .to_the_end("assign number", async move {
                comms.assign_now(resource, number).await
            })
            .await?
    }

    async fn assign_now(
        &self,
        resource: ResourceId,
        number: PhoneNumber,
    ) -> Result<Assignment, AssignError> {
        let _managing = self.0.managing.lock().await;
        let resource = match self.resource(&resource) {
            Some(service) => service.id.clone(),
            None => return Err(AssignError::NoSuchResource(resource)),
        };
        if let Some(found) = self.0.registry.assignment(&number) {
            if found.resource == resource {
                return Ok(found);
            }
            return Err(AssignError::Taken(found.resource));
        }
        let assignment = Assignment {
            number,
            resource,
            since: self.0.settings.clock.now(),
        };
        let row = assignment.clone();
        self.0
            .store
            .write(Partition::DIRECTORY, move |txn| {
                txn.put(&tables::NUMBERS, row.number.digits(), &row)
            })
            .await
            .map_err(gridpost_store::WriteError::into_inner)?;
        self.0.registry.put_number(assignment.clone());
        Ok(assignment)
    }

    /// Takes a number from its resource; tells whether it had one.
    ///
    /// # Errors
    /// The change could not be kept.
    pub async fn release(&self, number: &PhoneNumber) -> Result<bool, StoreError> {
        let comms = self.clone();
        let number = number.clone();
        let work = async move {
            let _managing = comms.0.managing.lock().await;
            comms.release_now(number).await
        };
        self.0.to_the_end("release number", work).await?
    }

    pub(crate) async fn release_now(&self, number: PhoneNumber) -> Result<bool, StoreError> {
        if self.0.registry.assignment(&number).is_none() {
            return Ok(false);
        }
        let row = number.clone();
        self.0
            .store
            .write(Partition::DIRECTORY, move |txn| {
                txn.remove(&tables::NUMBERS, row.digits())
            })
            .await
            .map_err(gridpost_store::WriteError::into_inner)?;
        self.0.registry.remove_number(&number);
        Ok(true)
    }

    /// The numbers of a resource, in order.
    pub fn numbers_of(&self, resource: &ResourceId) -> Vec<PhoneNumber> {
        let all = self.0.registry.numbers().into_iter();
        all.filter(|found| found.resource == *resource)
            .map(|found| found.number)
            .collect()
    }

    /// Every number that belongs to a resource, in order.
    pub fn numbers(&self) -> Vec<Assignment> {
        self.0.registry.numbers()
    }

    /// The resource a number belongs to.
    pub fn owner_of(&self, number: &PhoneNumber) -> Option<ResourceId> {
        self.0
            .registry
            .assignment(number)
            .map(|found| found.resource)
    }
}
