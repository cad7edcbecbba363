//! The name of a service, parsed once and trusted from then on.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of a service: 1 to 64 of `A-Z`, `a-z`, `0-9`, `_`, `-`, `.` and `@`, starting with a
/// letter or a digit. Cheap to clone.
///
/// ```
/// use zinit_host::name::ServiceName;
/// assert!(ServiceName::parse("My-Svc.v2").is_ok());
/// assert!(ServiceName::parse("../../evil").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    const LEN_MAX: usize = 64;

    /// Parses a name.
    ///
    /// # Errors
    /// [`BadName`] when the text is not a name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && text.len() <= Self::LEN_MAX && text.chars().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(BadName(text.chars().take(80).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for ServiceName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for ServiceName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A text that is no service name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no service name: 1 to 64 letters, digits, `_`, `-`, `.` or `@`, \
     starting with a letter or a digit"
)]
pub struct BadName(pub String);
