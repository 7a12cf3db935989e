//! Transactions: what one closure reads and changes.

use std::marker::PhantomData;
use std::sync::Arc;

use gridpost_model::Event;
use gridpost_model::subscription::LaneId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Key, Partition, Scan, StoreError, Table};

/// The changes of one write, over one partition. Sees its own changes.
#[derive(Debug)]
pub struct Txn<'a> {
    partition: Partition,
    writer: PhantomData<&'a mut ()>,
}

impl Txn<'_> {
    /// The partition it reads and changes.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// One row.
    ///
    /// # Errors
    /// The tables cannot be read, or the row is not a `V`.
    pub fn get<V: DeserializeOwned>(
        &self,
        _table: &Table<V>,
        _key: impl Key,
    ) -> Result<Option<V>, StoreError> {
        Err(StoreError::Closed)
    }

    /// Writes a row, new or over the old one.
    ///
    /// # Errors
    /// The value cannot be written as JSON, or the key cannot be stored.
    pub fn put<V: Serialize>(
        &mut self,
        _table: &Table<V>,
        _key: impl Key,
        _row: &V,
    ) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    /// Removes a row; nothing happens when there is none.
    ///
    /// # Errors
    /// The key cannot be stored.
    pub fn remove<V>(&mut self, _table: &Table<V>, _key: impl Key) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    /// Rows in the order of their keys, each with its key.
    ///
    /// # Errors
    /// The tables cannot be read, or a row is not a `V`.
    pub fn scan<V: DeserializeOwned>(
        &self,
        _table: &Table<V>,
        _scan: Scan,
    ) -> Result<Vec<(Box<[u8]>, V)>, StoreError> {
        Err(StoreError::Closed)
    }

    /// Appends an event for the lanes that matched it.
    pub fn append(&mut self, _event: Arc<Event>, _lanes: &[LaneId]) {}

    /// Says in the same transaction that a lane is done with an event.
    pub fn settle(&mut self, _lane: LaneId, _position: crate::Position) {}
}
