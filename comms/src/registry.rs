//! Which resources and numbers exist, in memory.
//!
//! Promise: what is here was committed; a reader waits for nobody but another reader's pointer copy.
//! Not here: how they change (`resources`, `numbers`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gridpost_model::{PhoneNumber, ResourceId};
use gridpost_store::{Partition, Scan, Store, StoreError};
use parking_lot::RwLock;

use crate::numbers::Assignment;
use crate::resources::CommunicationService;
use crate::tables;

#[derive(Default)]
pub(crate) struct Registry {
    services: RwLock<Services>,
    numbers: RwLock<HashMap<PhoneNumber, Assignment>>,
}

#[derive(Default)]
struct Services {
    by_id: BTreeMap<ResourceId, Arc<CommunicationService>>,
    by_immutable_id: HashMap<String, Arc<CommunicationService>>,
    /// The same in one piece, for the signature check, which looks at each of them.
    all: Arc<[Arc<CommunicationService>]>,
}

impl Registry {
    /// Reads the tables. A number whose resource is gone (a crash between the two transactions of a deletion) is free.
    pub(crate) fn load(store: &Store, host_name: &str) -> Result<Self, StoreError> {
        let snapshot = store.snapshot();
        let mut services = Services::default();
        for (_, _, mut service) in
            snapshot.scan_all(&tables::SERVICES, Scan::all().limit(usize::MAX))?
        {
            service.host_name = host_name.to_owned();
            services.by_id.insert(service.id.clone(), Arc::new(service));
        }
        services.gather();
        let numbers = snapshot
            .scan(
                &tables::NUMBERS,
                Partition::DIRECTORY,
                Scan::all().limit(usize::MAX),
            )?
            .into_iter()
            .filter(|(_, assignment)| services.by_id.contains_key(&assignment.resource))
            .map(|(_, assignment)| (assignment.number.clone(), assignment))
            .collect();
        Ok(Self {
            services: RwLock::new(services),
            numbers: RwLock::new(numbers),
        })
    }

    pub(crate) fn service(&self, id: &ResourceId) -> Option<Arc<CommunicationService>> {
        self.services.read().by_id.get(id).cloned()
    }

    /// The resource of that immutable id.
    pub(crate) fn service_with(&self, immutable_id: &str) -> Option<Arc<CommunicationService>> {
        self.services
            .read()
            .by_immutable_id
            .get(immutable_id)
            .cloned()
    }

    pub(crate) fn all(&self) -> Arc<[Arc<CommunicationService>]> {
        Arc::clone(&self.services.read().all)
    }

    pub(crate) fn put_service(&self, service: Arc<CommunicationService>) {
        let mut services = self.services.write();
        services.by_id.insert(service.id.clone(), service);
        services.gather();
    }

    pub(crate) fn remove_service(&self, id: &ResourceId) {
        let mut services = self.services.write();
        services.by_id.remove(id);
        services.gather();
    }

    pub(crate) fn assignment(&self, number: &PhoneNumber) -> Option<Assignment> {
        self.numbers.read().get(number).cloned()
    }

    /// Whether the number belongs to this resource; copies nothing.
    pub(crate) fn owns(&self, resource: &ResourceId, number: &PhoneNumber) -> bool {
        self.numbers
            .read()
            .get(number)
            .is_some_and(|found| found.resource == *resource)
    }

    /// The resource a number belongs to.
    pub(crate) fn owner(&self, number: &PhoneNumber) -> Option<Arc<CommunicationService>> {
        let numbers = self.numbers.read();
        let assignment = numbers.get(number)?;
        self.service(&assignment.resource)
    }

    /// All numbers, in order of their digits.
    pub(crate) fn numbers(&self) -> Vec<Assignment> {
        let mut found: Vec<_> = self.numbers.read().values().cloned().collect();
        found.sort_by(|a, b| a.number.cmp(&b.number));
        found
    }

    pub(crate) fn put_number(&self, assignment: Assignment) {
        self.numbers
            .write()
            .insert(assignment.number.clone(), assignment);
    }

    pub(crate) fn remove_number(&self, number: &PhoneNumber) {
        self.numbers.write().remove(number);
    }
}

impl Services {
    fn gather(&mut self) {
        self.all = self.by_id.values().cloned().collect();
        let named = self
            .all
            .iter()
            .map(|found| (found.immutable_id.clone(), Arc::clone(found)));
        self.by_immutable_id = named.collect();
    }
}
