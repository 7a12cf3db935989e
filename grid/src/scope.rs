//! Scopes: how much of what exists a list shows.
//!
//! Promise: names in a scope compare without case, as everywhere in Resource Manager.

use gridpost_model::ResourceId;

/// How far a list reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything there is.
    Everywhere,
    /// What lies in one subscription.
    Subscription(String),
    /// What lies in one resource group.
    ResourceGroup {
        /// The subscription's identifier.
        subscription: String,
        /// The group's name.
        group: String,
    },
}

impl Scope {
    /// Whether a resource lies within the scope.
    pub fn holds(&self, id: &ResourceId) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Subscription(subscription) => same(id.subscription(), subscription),
            Self::ResourceGroup {
                subscription,
                group,
            } => same(id.subscription(), subscription) && same(id.resource_group(), group),
        }
    }
}

fn same(found: Option<&str>, wanted: &str) -> bool {
    found.is_some_and(|found| found.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ResourceId {
        text.parse().unwrap()
    }

    #[test]
    fn a_scope_holds_what_lies_in_it_in_any_case() {
        let topic =
            id("/subscriptions/S1/resourceGroups/RG/providers/Microsoft.EventGrid/topics/t");
        let group = Scope::ResourceGroup {
            subscription: "s1".into(),
            group: "rg".into(),
        };
        assert!(Scope::Everywhere.holds(&topic));
        assert!(Scope::Subscription("s1".into()).holds(&topic));
        assert!(group.holds(&topic));
    }

    #[test]
    fn a_scope_does_not_hold_its_neighbours() {
        let topic =
            id("/subscriptions/S1/resourceGroups/other/providers/Microsoft.EventGrid/topics/t");
        let group = Scope::ResourceGroup {
            subscription: "s1".into(),
            group: "rg".into(),
        };
        assert!(!Scope::Subscription("s2".into()).holds(&topic));
        assert!(!group.holds(&topic));
        assert!(!group.holds(&id("/subscriptions/S1")));
    }
}
