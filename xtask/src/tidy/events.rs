//! Events that are raised and what comes with them.
//!
//! Promise: a type that is raised has the exact JSON of its payload under test, and so a line in the catalogue.

use std::collections::BTreeMap;

use super::Complaint;
use crate::generate::Raised;

/// Checks the types that are raised.
pub(crate) fn check(raised: &BTreeMap<&'static str, Raised>) -> Vec<Complaint> {
    let bare = raised.iter().filter(|(_, raised)| raised.bodies.is_empty());
    let complain = |(name, raised): (&&str, &Raised)| {
        Complaint::new(
            &raised.source,
            format!("raises {name} without a snapshot of its JSON"),
        )
    };
    bare.map(complain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_type_needs_a_snapshot() {
        let name = "Microsoft.Communication.SMSReceived";
        let source = || "comms/src/sms/events.rs".into();
        let bare = Raised {
            source: source(),
            bodies: Vec::new(),
        };
        assert_eq!(check(&BTreeMap::from([(name, bare)])).len(), 1);
        let whole = Raised {
            source: source(),
            bodies: vec!["{}".to_owned()],
        };
        assert!(check(&BTreeMap::from([(name, whole)])).is_empty());
    }
}
