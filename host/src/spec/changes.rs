//! What differs between two configurations of a service, in the words of its file.

use super::{KEYS, Spec};

impl Spec {
    /// The keys whose values differ, in the order of [`KEYS`]; a map such as `health` is one key.
    ///
    /// ```
    /// use zinit_host::spec::Spec;
    /// let old = Spec::of_exec("sleep 1");
    /// let new = Spec { oneshot: true, ..Spec::of_exec("sleep 2") };
    /// assert_eq!(old.changes(&new), ["exec", "oneshot"]);
    /// ```
    pub fn changes(&self, new: &Self) -> Vec<&'static str> {
        if self == new {
            return Vec::new();
        }
        // Spelled out in full, so that no key can be forgotten here.
        let (old, new) = (self.to_config(), new.to_config());
        let differ = |key: &&str| old.get(*key) != new.get(*key);
        KEYS.iter().map(|it| it.name).filter(differ).collect()
    }
}
