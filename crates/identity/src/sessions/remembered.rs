//! Tokens whose signature was found right, and what they claim, so that it is not worked out again with each request.
//!
//! Nothing in here can grow old: a token is its bytes, and under one secret the same bytes are signed for ever or never; whose
//! secret changes begins with an empty memory. What a caller is worth is decided by what may change (the time, the account, its
//! session stamp, revocations), and none of that is remembered without being looked at again: the caller that was made of an entry
//! is taken only together with that very entry, which the cache has just found valid.

use std::{
    collections::HashMap,
    mem::take,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use neverstale_cache::Entry;
use neverstale_flavour::Read;

use super::claims::Claims;
use crate::Caller;

/// So many tokens are remembered since the last time that they were too many, and as many from before that.
const TOKENS_MAX: usize = 1_024;

/// A token that was verified.
pub(crate) struct Session {
    pub(crate) claims: Claims,
    /// What must be read about the account.
    pub(crate) read: Read,
    /// Who it was, by the entry that said so.
    caller: Mutex<Option<(Arc<Entry>, Caller)>>,
}

/// Tokens that were verified.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<Tokens>);

#[derive(Default)]
struct Tokens {
    young: HashMap<Box<str>, Arc<Session>>,
    /// Those that were young before; forgotten when the young are too many again.
    old: HashMap<Box<str>, Arc<Session>>,
}

impl Session {
    pub(crate) fn new(claims: Claims, read: Read) -> Self {
        Self {
            claims,
            read,
            caller: Mutex::default(),
        }
    }

    /// Gives the caller that was made of this very entry.
    pub(crate) fn caller_by(&self, entry: &Arc<Entry>) -> Option<Caller> {
        let caller = lock(&self.caller);
        let (of, caller) = caller.as_ref()?;
        Arc::ptr_eq(of, entry).then(|| caller.clone())
    }

    /// Remembers the caller that was made of an entry.
    pub(crate) fn remember(&self, entry: &Arc<Entry>, caller: &Caller) {
        // As long as the entry is held here, no other can have its address.
        *lock(&self.caller) = Some((Arc::clone(entry), caller.clone()));
    }
}

impl Remembered {
    /// Gives what a token claims, if it was verified before.
    pub(crate) fn get(&self, token: &str) -> Option<Arc<Session>> {
        let mut tokens = lock(&self.0);
        if let Some(session) = tokens.young.get(token) {
            return Some(Arc::clone(session));
        }
        let (token, session) = tokens.old.remove_entry(token)?;
        tokens.add(token, Arc::clone(&session));
        Some(session)
    }

    /// Remembers a token that was verified.
    pub(crate) fn add(&self, token: &str, session: Arc<Session>) {
        lock(&self.0).add(token.into(), session);
    }
}

impl Tokens {
    fn add(&mut self, token: Box<str>, session: Arc<Session>) {
        if self.young.len() >= TOKENS_MAX {
            self.old = take(&mut self.young);
        }
        self.young.insert(token, session);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
