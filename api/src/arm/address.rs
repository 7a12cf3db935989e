//! Where a Resource Manager path points.
//!
//! Promise: a path is split at its last provider, so that an extension (`…/providers/Microsoft.EventGrid/
//! eventSubscriptions/x` on any resource) and a resource of its own read the same way. Words compare without case,
//! names keep theirs.

use gridpost_model::ResourceId;

/// A path, taken apart.
#[derive(Clone)]
pub(super) struct Address {
    /// What stands before the last provider: nothing, a subscription, a resource group or a resource.
    pub(super) scope: Option<ResourceId>,
    /// The last provider's namespace, as written.
    pub(super) namespace: Option<String>,
    /// The segments after the namespace, or all of them when there is no provider.
    pub(super) names: Vec<String>,
    folded: Vec<String>,
    subscription: Option<String>,
}

/// The first segments that are Resource Manager's.
const ROOTS: [&str; 3] = ["subscriptions", "providers", "tenants"];

impl Address {
    /// `None` when the path is not one of Resource Manager's, or hangs on what is no resource id: that is not taken for
    /// hanging on nothing, which is above everything. The path has no double slashes.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let is = |at: usize, word: &str| {
            segments
                .get(at)
                .is_some_and(|found: &&str| found.eq_ignore_ascii_case(word))
        };
        if !ROOTS.iter().any(|root| is(0, root)) {
            return None;
        }
        let subscription = segments.get(1).filter(|_| is(0, "subscriptions"));
        // A provider's own segments come in pairs behind its namespace, so a resource that is called `providers` is
        // not mistaken for one.
        let provider = (0..segments.len())
            .rev()
            .find(|at| at % 2 == 0 && is(*at, "providers") && at + 1 < segments.len());
        let (scope, namespace, rest) = match provider {
            Some(at) => (
                &segments[..at],
                Some(segments[at + 1].to_owned()),
                &segments[at + 2..],
            ),
            None => (&segments[..0], None, &segments[..]),
        };
        let scope = match scope {
            [] => None,
            scope => Some(format!("/{}", scope.join("/")).parse().ok()?),
        };
        let names: Vec<String> = rest.iter().map(|segment| (*segment).to_owned()).collect();
        let folded = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let subscription = subscription.map(|id| (*id).to_owned());
        Some(Self {
            scope,
            namespace,
            names,
            folded,
            subscription,
        })
    }

    /// The segments in lower case, to compare with.
    pub(super) fn words(&self) -> Vec<&str> {
        self.folded.iter().map(String::as_str).collect()
    }

    /// The subscription that the path lies in.
    pub(super) fn subscription(&self) -> Option<&str> {
        self.subscription.as_deref()
    }

    /// The resource group that the path lies in.
    pub(super) fn group_id(&self) -> Option<ResourceId> {
        let (subscription, group) = (self.subscription()?, self.scope.as_ref()?.resource_group()?);
        format!("/subscriptions/{subscription}/resourceGroups/{group}")
            .parse()
            .ok()
    }

    /// Whether the path speaks of the provider itself: `/subscriptions/s/providers/{namespace}[/register]`.
    pub(super) fn is_about_provider(&self) -> bool {
        matches!(self.words()[..], [] | ["register" | "unregister"])
    }

    /// The list scope: a subscription or a resource group. `None` when the scope is a resource.
    pub(super) fn list_scope(&self) -> Option<gridpost_grid::scope::Scope> {
        use gridpost_grid::scope::Scope;
        let Some(scope) = &self.scope else {
            return Some(Scope::Everywhere);
        };
        if scope.resource_type().is_some() {
            return None;
        }
        let subscription = self.subscription()?.to_owned();
        Some(match scope.resource_group() {
            Some(group) => Scope::ResourceGroup {
                subscription,
                group: group.to_owned(),
            },
            None => Scope::Subscription(subscription),
        })
    }

    /// The id of a resource of this provider, its words in canonical spelling: `resource("Microsoft.EventGrid",
    /// "topics", name)`.
    pub(super) fn resource(&self, namespace: &str, kind: &str, name: &str) -> Option<ResourceId> {
        let group = self.group_id()?;
        group
            .join(&format!("providers/{namespace}/{kind}/{name}"))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Address {
        Address::parse(path).unwrap()
    }

    #[test]
    fn an_extension_is_split_from_its_scope() {
        let address = parse(
            "/subscriptions/S/resourcegroups/G/providers/Microsoft.Communication/communicationServices/dev/providers/microsoft.eventgrid/eventSubscriptions/Es",
        );
        let scope = address.scope.as_ref().unwrap();
        assert!(scope.is_of_type("microsoft.communication/communicationservices"));
        assert_eq!(address.namespace.as_deref(), Some("microsoft.eventgrid"));
        assert_eq!(address.names, ["eventSubscriptions", "Es"]);
        assert_eq!(address.words(), ["eventsubscriptions", "es"]);
        assert_eq!(
            address.group_id().unwrap().as_str(),
            "/subscriptions/S/resourceGroups/G"
        );
        assert!(address.list_scope().is_none());
    }

    #[test]
    fn a_path_without_a_provider_keeps_all_its_segments() {
        let address = parse("/subscriptions/S/resourceGroups/G");
        assert_eq!(
            address.words(),
            ["subscriptions", "s", "resourcegroups", "g"]
        );
        assert_eq!(address.subscription(), Some("S"));
        assert!(address.namespace.is_none());
    }

    #[test]
    fn the_list_of_providers_has_no_namespace() {
        assert_eq!(
            parse("/subscriptions/S/providers").words(),
            ["subscriptions", "s", "providers"]
        );
        assert!(parse("/subscriptions/S/providers/Microsoft.EventGrid").is_about_provider());
    }

    #[test]
    fn a_resource_may_be_called_providers() {
        let address = parse(
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.EventGrid/topics/providers/listKeys",
        );
        assert_eq!(address.words(), ["topics", "providers", "listkeys"]);
    }

    #[test]
    fn what_hangs_on_no_resource_id_hangs_nowhere() {
        for group in ["g\u{1}", "g\u{7f}"] {
            let below = "providers/Microsoft.Authorization/roleAssignments/x";
            let path = format!("/subscriptions/S/resourceGroups/{group}/{below}");
            assert!(Address::parse(&path).is_none(), "{path:?}");
        }
    }

    #[test]
    fn foreign_paths_are_not_ours() {
        for path in ["/", "/favicon.ico", "/sub/x"] {
            assert!(Address::parse(path).is_none(), "{path}");
        }
    }
}
