//! What the keeper remembers of a service for the next brain.

use serde::{Deserialize, Serialize};

use crate::spec::Spec;
use crate::state::{Service, Standing};

/// The note of one service.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    /// Where it stands.
    pub standing: Standing,
    /// Its configuration, if no file has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
}

impl Note {
    /// The note of this service, as text.
    pub fn of(service: &Service) -> String {
        let config = service.spec.transient.then(|| service.spec.to_config());
        let note = Self { standing: service.standing.clone(), config };
        serde_json::to_string(&note).expect("a note is plain data")
    }

    /// Reads a note; one that cannot be read is no note.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The configuration that no file has.
    pub fn spec(&self) -> Option<Spec> {
        let mut spec = Spec::from_config(self.config.as_ref()?).ok()?;
        spec.transient = true;
        Some(spec)
    }
}
