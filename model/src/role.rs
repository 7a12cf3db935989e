//! Roles: what whoever holds one may do.
//!
//! Promise: the names, identifiers and actions are those of the cloud service, so that a script that assigns a role means
//! the same here. Of the actions it lists, those of services that do not exist here are left out.
//! Not here: who holds a role, and where (`grid::roles`); which action a call is (`api`).
//! Source: the service's published list of built-in roles.

/// What kind of thing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// To a resource: it is read, changed or deleted, or its keys are shown.
    Management,
    /// With a resource: an event is sent.
    Data,
}

/// A role that can be assigned.
#[derive(Debug, PartialEq, Eq)]
pub struct Role {
    /// Its GUID.
    pub id: &'static str,
    /// Its name, as `az role assignment create --role` takes it.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// The management actions it allows. `*` stands for any text.
    pub actions: &'static [&'static str],
    /// Those of them that it does not.
    pub not_actions: &'static [&'static str],
    /// The data actions it allows.
    pub data_actions: &'static [&'static str],
}

/// May do everything to resources, and decide who may do what.
pub const OWNER: &Role = &Role {
    id: "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    name: "Owner",
    description: "Grants full access to manage all resources, including the ability to assign roles.",
    actions: &["*"],
    not_actions: &[],
    data_actions: &[],
};

/// May do everything to resources.
pub const CONTRIBUTOR: &Role = &Role {
    id: "b24988ac-6180-42a0-ab88-20f7382dd24c",
    name: "Contributor",
    description: "Grants full access to manage all resources, but does not allow you to assign roles.",
    actions: &["*"],
    not_actions: &[
        "Microsoft.Authorization/*/Delete",
        "Microsoft.Authorization/*/Write",
        "Microsoft.Authorization/elevateAccess/Action",
    ],
    data_actions: &[],
};

/// May look at everything but keys.
pub const READER: &Role = &Role {
    id: "acdd72a7-3385-48ef-bd42-f606fba81ae7",
    name: "Reader",
    description: "View all resources, but does not allow you to make any changes.",
    actions: &["*/read"],
    not_actions: &[],
    data_actions: &[],
};

/// May publish with a token.
pub const DATA_SENDER: &Role = &Role {
    id: "d5a91429-5739-47e2-a06b-3470a27159e7",
    name: "EventGrid Data Sender",
    description: "Allows send access to event grid events.",
    actions: &[
        "Microsoft.Authorization/*/read",
        "Microsoft.EventGrid/topics/read",
        "Microsoft.EventGrid/domains/read",
        "Microsoft.EventGrid/partnerNamespaces/read",
        "Microsoft.EventGrid/namespaces/read",
        "Microsoft.Resources/subscriptions/resourceGroups/read",
    ],
    not_actions: &[],
    data_actions: &["Microsoft.EventGrid/events/send/action"],
};

/// Every role.
pub const ROLES: &[&Role] = &[
    OWNER,
    CONTRIBUTOR,
    READER,
    &Role {
        id: "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        name: "User Access Administrator",
        description: "Lets you manage user access to resources.",
        actions: &["*/read", "Microsoft.Authorization/*"],
        not_actions: &[],
        data_actions: &[],
    },
    &Role {
        id: "1e241071-0855-49ea-94dc-649edcd759de",
        name: "EventGrid Contributor",
        description: "Lets you manage EventGrid operations.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.EventGrid/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    &Role {
        id: "428e0ff0-5e57-4d9c-a221-2c70d0e0a443",
        name: "EventGrid EventSubscription Contributor",
        description: "Lets you manage EventGrid event subscription operations.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.EventGrid/eventSubscriptions/*",
            "Microsoft.EventGrid/topicTypes/eventSubscriptions/read",
            "Microsoft.EventGrid/locations/eventSubscriptions/read",
            "Microsoft.EventGrid/locations/topicTypes/eventSubscriptions/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    &Role {
        id: "2414bbcf-6497-4faf-8c65-045460748405",
        name: "EventGrid EventSubscription Reader",
        description: "Lets you read EventGrid event subscriptions.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.EventGrid/eventSubscriptions/read",
            "Microsoft.EventGrid/topicTypes/eventSubscriptions/read",
            "Microsoft.EventGrid/locations/eventSubscriptions/read",
            "Microsoft.EventGrid/locations/topicTypes/eventSubscriptions/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    DATA_SENDER,
    &Role {
        id: "09976791-48a7-449e-bb21-39d1a415f350",
        name: "Communication and Email Service Owner",
        description: "Create, read, modify, and delete Communications and Email Service resources.",
        // The published list names each type; together they are all there are.
        actions: &["Microsoft.Communication/*"],
        not_actions: &[],
        data_actions: &[],
    },
];

impl Role {
    /// The role of that GUID or name, in any case.
    pub fn find(id_or_name: &str) -> Option<&'static Self> {
        let is_it = |role: &&Self| {
            role.id.eq_ignore_ascii_case(id_or_name) || role.name.eq_ignore_ascii_case(id_or_name)
        };
        ROLES.iter().copied().find(is_it)
    }

    /// Whether whoever holds the role may do this, where it is held.
    pub fn allows(&self, plane: Plane, action: &str) -> bool {
        let fits = |patterns: &[&str]| patterns.iter().any(|pattern| fits(pattern, action));
        match plane {
            Plane::Management => fits(self.actions) && !fits(self.not_actions),
            Plane::Data => fits(self.data_actions),
        }
    }
}

/// Whether an action is one of a pattern's, in which `*` stands for any text. Case does not matter.
fn fits(pattern: &str, action: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern.eq_ignore_ascii_case(action);
    };
    let Some(rest) = strip_prefix(action, before) else {
        return false;
    };
    // One star is all that any pattern of ours has; of a second one, nothing would fit.
    rest.len() >= after.len()
        && rest.is_char_boundary(rest.len() - after.len())
        && rest[rest.len() - after.len()..].eq_ignore_ascii_case(after)
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Whether what is assigned at a scope counts at another: it is the same, or lies below. `/` is above everything.
pub fn covers(scope: &str, target: &str) -> bool {
    let scope = scope.trim_end_matches('/');
    strip_prefix(target, scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_and_names_are_given_once() {
        for role in ROLES {
            assert_eq!(Role::find(role.id), Some(*role));
            assert_eq!(Role::find(&role.name.to_uppercase()), Some(*role));
        }
        assert_eq!(Role::find("Reade"), None);
    }

    #[test]
    fn no_pattern_has_two_stars() {
        for role in ROLES {
            for patterns in [role.actions, role.not_actions, role.data_actions] {
                for pattern in patterns {
                    assert!(pattern.matches('*').count() < 2, "{pattern}");
                }
            }
        }
    }

    #[test]
    fn roles_allow_what_their_names_say() {
        let table = [
            ("Reader", "Microsoft.EventGrid/topics/read", true),
            ("Reader", "Microsoft.EventGrid/topics/write", false),
            (
                "Reader",
                "Microsoft.EventGrid/topics/listKeys/action",
                false,
            ),
            (
                "Contributor",
                "Microsoft.EventGrid/topics/listKeys/action",
                true,
            ),
            (
                "Contributor",
                "Microsoft.Authorization/roleAssignments/write",
                false,
            ),
            (
                "Contributor",
                "Microsoft.Authorization/roleAssignments/delete",
                false,
            ),
            (
                "Contributor",
                "Microsoft.Authorization/roleAssignments/read",
                true,
            ),
            (
                "Owner",
                "Microsoft.Authorization/roleAssignments/write",
                true,
            ),
            (
                "User Access Administrator",
                "microsoft.authorization/roleassignments/DELETE",
                true,
            ),
            (
                "User Access Administrator",
                "Microsoft.EventGrid/topics/write",
                false,
            ),
            (
                "EventGrid Contributor",
                "Microsoft.EventGrid/topics/write",
                true,
            ),
            (
                "EventGrid Contributor",
                "Microsoft.Communication/communicationServices/read",
                false,
            ),
            (
                "EventGrid EventSubscription Contributor",
                "Microsoft.EventGrid/eventSubscriptions/write",
                true,
            ),
            (
                "EventGrid EventSubscription Contributor",
                "Microsoft.EventGrid/topics/write",
                false,
            ),
            (
                "EventGrid Data Sender",
                "Microsoft.EventGrid/topics/read",
                true,
            ),
            (
                "EventGrid Data Sender",
                "Microsoft.EventGrid/topics/write",
                false,
            ),
        ];
        for (role, action, allowed) in table {
            let role = Role::find(role).unwrap();
            assert_eq!(
                role.allows(Plane::Management, action),
                allowed,
                "{} {action}",
                role.name
            );
        }
    }

    #[test]
    fn only_a_data_role_sends_events() {
        let send = "Microsoft.EventGrid/events/send/action";
        for role in ROLES {
            assert_eq!(role.allows(Plane::Data, send), *role == DATA_SENDER);
        }
    }

    #[test]
    fn a_scope_covers_itself_and_what_lies_below() {
        let group = "/subscriptions/s/resourceGroups/g";
        assert!(covers(group, group));
        assert!(covers(group, &group.to_uppercase()));
        assert!(covers(
            group,
            "/subscriptions/S/resourcegroups/G/providers/A.B/c/d"
        ));
        assert!(!covers(group, "/subscriptions/s/resourceGroups/g2"));
        assert!(!covers(group, "/subscriptions/s"));
        assert!(!covers(group, "/"));
        assert!(covers("/", group) && covers("/", "/"));
    }
}
