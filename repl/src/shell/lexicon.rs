//! What can be said at the prompt just now: plain facts, which the editor of lines reads on each key.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::Dynamic;
use zinit_host::words::Word;

/// How many elements of an array are looked at.
const ELEMENTS: usize = 100;

/// Everything that can be said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lexicon {
    /// The functions that came with the program.
    pub(crate) words: Vec<Word>,
    /// The functions that were defined here.
    pub(crate) own: Vec<Word>,
    /// The variables.
    pub(crate) variables: Vec<Noun>,
    /// The names of the services, sorted.
    pub(crate) services: Vec<String>,
    /// The names of the proxies, sorted.
    pub(crate) proxies: Vec<String>,
}

/// A variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noun {
    /// Its name.
    pub(crate) name: String,
    /// What `type_of` says.
    pub(crate) type_name: String,
    /// The keys of a map, or of the maps in an array.
    pub(crate) keys: Vec<String>,
}

/// A lexicon that the shell writes and the editor reads; both are on one thread, but the editor must be
/// able to change threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Arc<Mutex<Lexicon>>);

impl Shared {
    /// The lexicon.
    pub(crate) fn open(&self) -> MutexGuard<'_, Lexicon> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lexicon {
    /// All functions, those first that were defined here.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Word> {
        self.own.iter().chain(&self.words)
    }
}

/// The keys of a map, or of the maps in an array, sorted.
pub(crate) fn keys(value: &Dynamic) -> Vec<String> {
    let mut keys = BTreeSet::new();
    let mut add = |it: &Dynamic| {
        if let Ok(map) = it.as_map_ref() {
            keys.extend(map.keys().map(ToString::to_string));
        }
    };
    add(value);
    if let Ok(array) = value.as_array_ref() {
        array.iter().take(ELEMENTS).for_each(add);
    }
    keys.into_iter().collect()
}
