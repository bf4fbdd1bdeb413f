//! How many connections each address has open.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts connections by address. Holds an address only while one of its connections is open.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<HashMap<IpAddr, u32>>);

/// The place of one connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    clients: Arc<Clients>,
    address: IpAddr,
}

impl Clients {
    /// Takes a place, if the address has fewer than `max`.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, max: u32) -> Option<Place> {
        let address = address.to_canonical();
        let mut open = self.lock();
        let count = open.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place {
            clients: Arc::clone(self),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.clients.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let clients = Arc::new(Clients::default());
        let (one, two) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let held = [clients.enter(one, 2).unwrap(), clients.enter(one, 2).unwrap()];
        assert!(clients.enter(one, 2).is_none());
        assert!(clients.enter(two, 2).is_some());
        drop(held);
        assert!(clients.enter(one, 2).is_some());
        assert!(clients.lock().is_empty());
    }
}
