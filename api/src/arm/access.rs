//! What each call of Resource Manager needs: the one table of its routes.
//!
//! Promise: what no row names is answered as if nothing were there, so a route cannot be reached before somebody has
//! decided who may use it. A resource hangs where its type may hang and nowhere else: a path that leads through one
//! resource to another would be judged by the first.
//! Not here: what roles allow (`model::role`), who holds them (`grid::roles`).

use gridpost_model::ResourceId;
use http::Method;

use super::address::Address;

/// Where a type may hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Below nothing.
    Tenant,
    /// `/subscriptions/{s}`.
    Subscription,
    /// `/subscriptions/{s}/resourceGroups/{g}`.
    Group,
    /// Any resource.
    Resource,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Whoever holds a role that allows the action that the row and the method name.
    Role,
    /// Whoever holds any role: what every client reads before it begins.
    AnyRole,
    /// Whoever signed in.
    SignIn,
}

/// One route.
pub(super) struct Row {
    at: &'static [At],
    /// The provider; empty: none, and the path is the whole path.
    namespace: &'static str,
    /// Words and names, a name written `{}`.
    path: &'static str,
    methods: &'static str,
    pub(super) need: Need,
    /// Whether what is done leaves a row in the audit log, when it is not only read.
    pub(super) is_noted: bool,
}

const TENANT: &[At] = &[At::Tenant];
const SUBSCRIPTION: &[At] = &[At::Subscription];
const GROUP: &[At] = &[At::Group];
const LISTS: &[At] = &[At::Subscription, At::Group];
const RESOURCE: &[At] = &[At::Resource];
const ANYWHERE: &[At] = &[At::Tenant, At::Subscription, At::Group, At::Resource];

const WHOLE: &str = "GET PUT PATCH DELETE";
/// Of resources without tags, which are not patched.
const UNTRACKED: &str = "GET PUT DELETE";
const COMMUNICATION: &str = "Microsoft.Communication";
const EVENT_GRID: &str = "Microsoft.EventGrid";
const AUTHORIZATION: &str = "Microsoft.Authorization";
/// Stands for every provider.
const EVERY: &str = "*";

const fn row(
    at: &'static [At],
    namespace: &'static str,
    path: &'static str,
    methods: &'static str,
) -> Row {
    Row {
        at,
        namespace,
        path,
        methods,
        need: Need::Role,
        is_noted: true,
    }
}

impl Row {
    const fn by(self, need: Need) -> Self {
        Self { need, ..self }
    }

    /// It is a `POST` and changes nothing.
    const fn asks_only(self) -> Self {
        Self {
            is_noted: false,
            ..self
        }
    }
}

/// Every route. A new one needs a row here, and one in the table of the test that walks through them all.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row(TENANT, "", "tenants", "GET").by(Need::SignIn),
    row(TENANT, "", "providers", "GET").by(Need::SignIn),
    // Shows the subscription to those who hold a role in it.
    row(TENANT, "", "subscriptions", "GET").by(Need::SignIn),
    row(TENANT, "", "subscriptions/{}", "GET").by(Need::AnyRole),
    row(TENANT, "", "subscriptions/{}/locations", "GET").by(Need::AnyRole),
    row(TENANT, "", "subscriptions/{}/providers", "GET").by(Need::AnyRole),
    row(TENANT, "", "subscriptions/{}/resources", "GET"),
    row(TENANT, "", "subscriptions/{}/resourceGroups", "GET"),
    row(TENANT, "", "subscriptions/{}/resourceGroups/{}", "GET HEAD PUT PATCH DELETE"),
    row(TENANT, "", "subscriptions/{}/resourceGroups/{}/resources", "GET"),
    row(&[At::Tenant, At::Subscription], EVERY, "", "GET").by(Need::SignIn),
    row(SUBSCRIPTION, EVERY, "register", "POST").asks_only(),
    row(SUBSCRIPTION, EVERY, "unregister", "POST").asks_only(),

    row(LISTS, COMMUNICATION, "communicationServices", "GET"),
    row(GROUP, COMMUNICATION, "communicationServices/{}", WHOLE),
    row(GROUP, COMMUNICATION, "communicationServices/{}/listKeys", "POST"),
    row(GROUP, COMMUNICATION, "communicationServices/{}/regenerateKey", "POST"),
    row(GROUP, COMMUNICATION, "communicationServices/{}/linkNotificationHub", "POST"),
    row(GROUP, COMMUNICATION, "communicationServices/{}/smtpUsernames", "GET"),
    row(GROUP, COMMUNICATION, "communicationServices/{}/smtpUsernames/{}", UNTRACKED),
    row(LISTS, COMMUNICATION, "checkNameAvailability", "POST").asks_only(),
    row(TENANT, COMMUNICATION, "operations", "GET").by(Need::SignIn),

    row(LISTS, COMMUNICATION, "emailServices", "GET"),
    row(GROUP, COMMUNICATION, "emailServices/{}", WHOLE),
    row(GROUP, COMMUNICATION, "emailServices/{}/domains", "GET"),
    row(GROUP, COMMUNICATION, "emailServices/{}/domains/{}", WHOLE),
    row(GROUP, COMMUNICATION, "emailServices/{}/domains/{}/initiateVerification", "POST"),
    row(GROUP, COMMUNICATION, "emailServices/{}/domains/{}/cancelVerification", "POST"),
    row(GROUP, COMMUNICATION, "emailServices/{}/domains/{}/senderUsernames", "GET"),
    row(GROUP, COMMUNICATION, "emailServices/{}/domains/{}/senderUsernames/{}", UNTRACKED),
    row(GROUP, COMMUNICATION, "emailServices/{}/domains/{}/suppressionLists", "GET"),
    row(GROUP, COMMUNICATION, "emailServices/{}/domains/{}/suppressionLists/{}", UNTRACKED),
    row(GROUP, COMMUNICATION, "emailServices/{}/domains/{}/suppressionLists/{}/suppressionListAddresses", "GET"),
    row(GROUP, COMMUNICATION, "emailServices/{}/domains/{}/suppressionLists/{}/suppressionListAddresses/{}", UNTRACKED),
    row(SUBSCRIPTION, COMMUNICATION, "listVerifiedExchangeOnlineDomains", "POST").asks_only(),
    // Whoever began one in a group asks here; it says nothing but that it is done.
    row(SUBSCRIPTION, COMMUNICATION, "locations/{}/operationStatuses/{}", "GET").by(Need::AnyRole),

    row(LISTS, EVENT_GRID, "topics", "GET"),
    row(GROUP, EVENT_GRID, "topics/{}", WHOLE),
    row(GROUP, EVENT_GRID, "topics/{}/listKeys", "POST"),
    row(GROUP, EVENT_GRID, "topics/{}/regenerateKey", "POST"),
    row(GROUP, EVENT_GRID, "topics/{}/privateEndpointConnections", "GET POST PUT PATCH DELETE"),
    row(GROUP, EVENT_GRID, "topics/{}/privateEndpointConnections/{}", "GET POST PUT PATCH DELETE"),
    row(GROUP, EVENT_GRID, "topics/{}/privateLinkResources", "GET POST PUT PATCH DELETE"),
    row(GROUP, EVENT_GRID, "topics/{}/privateLinkResources/{}", "GET POST PUT PATCH DELETE"),
    row(GROUP, EVENT_GRID, "topics/{}/eventSubscriptions", "GET"),
    row(GROUP, EVENT_GRID, "topics/{}/eventSubscriptions/{}", WHOLE),
    row(GROUP, EVENT_GRID, "topics/{}/eventSubscriptions/{}/getFullUrl", "POST"),
    row(GROUP, EVENT_GRID, "topics/{}/eventSubscriptions/{}/getDeliveryAttributes", "POST"),

    row(LISTS, EVENT_GRID, "domains", "GET"),
    row(GROUP, EVENT_GRID, "domains/{}", WHOLE),
    row(GROUP, EVENT_GRID, "domains/{}/listKeys", "POST"),
    row(GROUP, EVENT_GRID, "domains/{}/regenerateKey", "POST"),
    row(GROUP, EVENT_GRID, "domains/{}/privateEndpointConnections", "GET POST PUT PATCH DELETE"),
    row(GROUP, EVENT_GRID, "domains/{}/privateEndpointConnections/{}", "GET POST PUT PATCH DELETE"),
    row(GROUP, EVENT_GRID, "domains/{}/privateLinkResources", "GET POST PUT PATCH DELETE"),
    row(GROUP, EVENT_GRID, "domains/{}/privateLinkResources/{}", "GET POST PUT PATCH DELETE"),
    row(GROUP, EVENT_GRID, "domains/{}/eventSubscriptions", "GET"),
    row(GROUP, EVENT_GRID, "domains/{}/eventSubscriptions/{}", WHOLE),
    row(GROUP, EVENT_GRID, "domains/{}/eventSubscriptions/{}/getFullUrl", "POST"),
    row(GROUP, EVENT_GRID, "domains/{}/eventSubscriptions/{}/getDeliveryAttributes", "POST"),
    row(GROUP, EVENT_GRID, "domains/{}/topics", "GET"),
    row(GROUP, EVENT_GRID, "domains/{}/topics/{}", "GET PUT DELETE"),
    row(GROUP, EVENT_GRID, "domains/{}/topics/{}/eventSubscriptions", "GET"),
    row(GROUP, EVENT_GRID, "domains/{}/topics/{}/eventSubscriptions/{}", WHOLE),
    row(GROUP, EVENT_GRID, "domains/{}/topics/{}/eventSubscriptions/{}/getFullUrl", "POST"),
    row(GROUP, EVENT_GRID, "domains/{}/topics/{}/eventSubscriptions/{}/getDeliveryAttributes", "POST"),

    row(LISTS, EVENT_GRID, "systemTopics", "GET"),
    row(GROUP, EVENT_GRID, "systemTopics/{}", WHOLE),
    row(GROUP, EVENT_GRID, "systemTopics/{}/eventSubscriptions", "GET"),
    row(GROUP, EVENT_GRID, "systemTopics/{}/eventSubscriptions/{}", WHOLE),
    row(GROUP, EVENT_GRID, "systemTopics/{}/eventSubscriptions/{}/getFullUrl", "POST"),
    row(GROUP, EVENT_GRID, "systemTopics/{}/eventSubscriptions/{}/getDeliveryAttributes", "POST"),

    row(ANYWHERE, EVENT_GRID, "eventSubscriptions", "GET"),
    row(ANYWHERE, EVENT_GRID, "eventSubscriptions/{}", WHOLE),
    row(ANYWHERE, EVENT_GRID, "eventSubscriptions/{}/getFullUrl", "POST"),
    row(ANYWHERE, EVENT_GRID, "eventSubscriptions/{}/getDeliveryAttributes", "POST"),
    row(LISTS, EVENT_GRID, "topicTypes/{}/eventSubscriptions", "GET"),
    row(LISTS, EVENT_GRID, "locations/{}/eventSubscriptions", "GET"),
    row(LISTS, EVENT_GRID, "locations/{}/topicTypes/{}/eventSubscriptions", "GET"),

    row(TENANT, EVENT_GRID, "topicTypes", "GET").by(Need::SignIn),
    row(TENANT, EVENT_GRID, "topicTypes/{}", "GET").by(Need::SignIn),
    row(TENANT, EVENT_GRID, "topicTypes/{}/eventTypes", "GET").by(Need::SignIn),
    row(TENANT, EVENT_GRID, "operations", "GET").by(Need::SignIn),
    row(RESOURCE, EVENT_GRID, "eventTypes", "GET"),
    row(RESOURCE, EVENT_GRID, "extensionTopics/{}", "GET"),

    row(ANYWHERE, AUTHORIZATION, "roleAssignments", "GET"),
    row(ANYWHERE, AUTHORIZATION, "roleAssignments/{}", "GET PUT DELETE"),
    row(ANYWHERE, AUTHORIZATION, "roleDefinitions", "GET").by(Need::SignIn),
    row(ANYWHERE, AUTHORIZATION, "roleDefinitions/{}", "GET").by(Need::SignIn),
];

/// The row of an address, whatever the method.
pub(super) fn find(address: &Address) -> Option<&'static Row> {
    let at = place(address)?;
    let words = address.words();
    ROWS.iter().find(|row| row.is_for(at, address, &words))
}

/// Where an address hangs; `None` for a scope that is none.
fn place(address: &Address) -> Option<At> {
    let Some(scope) = &address.scope else {
        return Some(At::Tenant);
    };
    let segments: Vec<&str> = scope.key().split('/').skip(1).collect();
    match segments[..] {
        ["subscriptions", _] => Some(At::Subscription),
        ["subscriptions", _, "resourcegroups", _] => Some(At::Group),
        [
            "subscriptions",
            _,
            "resourcegroups",
            _,
            "providers",
            _,
            ref rest @ ..,
        ] if !rest.is_empty() && rest.len() % 2 == 0 => Some(At::Resource),
        _ => None,
    }
}

impl Row {
    fn is_for(&self, at: At, address: &Address, words: &[&str]) -> bool {
        let is_namespace = match (&address.namespace, self.namespace) {
            (None, own) => own.is_empty(),
            (Some(_), EVERY) => true,
            (Some(namespace), own) => namespace.eq_ignore_ascii_case(own),
        };
        is_namespace && self.at.contains(&at) && self.fits(words)
    }

    fn fits(&self, words: &[&str]) -> bool {
        let own: Vec<&str> = self.words().collect();
        own.len() == words.len()
            && own
                .iter()
                .zip(words)
                .all(|(own, word)| *own == "{}" || own.eq_ignore_ascii_case(word))
    }

    fn words(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter(|word| !word.is_empty())
    }

    /// Whether the route has the method. Whoever may ask for something of a provider may ask whether it is there.
    pub(super) fn has(&self, method: &Method) -> bool {
        let method = match *method {
            Method::HEAD if !self.namespace.is_empty() => "GET",
            _ => method.as_str(),
        };
        self.methods.split(' ').any(|own| own == method)
    }

    /// Whether it shows what opens something.
    pub(super) fn shows_secrets(&self) -> bool {
        let last = self.words().last().unwrap_or_default();
        matches!(last, "listKeys" | "getFullUrl" | "getDeliveryAttributes")
    }

    /// `Microsoft.EventGrid/topics/write`: what a role has to allow.
    pub(super) fn action(&self, method: &Method, address: &Address) -> String {
        let verb = match *method {
            Method::GET | Method::HEAD => "read",
            Method::PUT | Method::PATCH => "write",
            Method::DELETE => "delete",
            _ => "action",
        };
        let namespace = match self.namespace {
            "" => "Microsoft.Resources",
            EVERY => address.namespace.as_deref().unwrap_or_default(),
            own => own,
        };
        let mut action = namespace.to_owned();
        for kind in self.words().step_by(2) {
            action.push('/');
            action.push_str(kind);
        }
        format!("{action}/{verb}")
    }
}

/// What a call is made to: the resource, or for a list what it is listed of. `/` is above everything.
pub(super) fn scope(address: &Address) -> String {
    let mut scope = address
        .scope
        .as_ref()
        .map(ResourceId::as_str)
        .unwrap_or_default()
        .to_owned();
    let names = &address.names;
    // A list, and an action on a resource, end in a word without a name.
    let named = &names[..names.len() - names.len() % 2];
    if !named.is_empty() {
        if let Some(namespace) = &address.namespace {
            scope.push_str("/providers/");
            scope.push_str(namespace);
        }
        for name in named {
            scope.push('/');
            scope.push_str(name);
        }
    }
    if scope.is_empty() {
        scope.push('/');
    }
    scope
}

/// Every method and path of the table, for the test that asks for each: names are written `{}`, a resource on which
/// others hang `{resource}`.
pub(super) fn listed() -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for row in ROWS {
        for at in row.at {
            let above = match at {
                At::Tenant => "",
                At::Subscription => "/subscriptions/{}",
                At::Group => "/subscriptions/{}/resourceGroups/{}",
                At::Resource => "{resource}",
            };
            let namespace = match row.namespace {
                "" => String::new(),
                EVERY => "/providers/Microsoft.EventGrid".to_owned(),
                own => format!("/providers/{own}"),
            };
            let path = match row.path {
                "" => String::new(),
                path => format!("/{path}"),
            };
            for method in row.methods.split(' ') {
                all.push((method, format!("{above}{namespace}{path}")));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "/subscriptions/S/resourceGroups/G";

    fn asked(method: &Method, path: &str) -> Option<(String, String)> {
        let address = Address::parse(path).unwrap();
        let row = find(&address).filter(|row| row.has(method))?;
        Some((row.action(method, &address), scope(&address)))
    }

    #[test]
    fn a_call_is_an_action_on_a_scope() {
        let topic = format!("{GROUP}/providers/Microsoft.EventGrid/topics/t");
        let below = |rest: &str| format!("{topic}{rest}");
        let table = [
            (Method::PUT, topic.clone(), "topics/write", topic.clone()),
            (
                Method::POST,
                below("/listkeys"),
                "topics/listKeys/action",
                topic.clone(),
            ),
            (
                Method::GET,
                format!("{GROUP}/providers/microsoft.eventgrid/topics"),
                "topics/read",
                GROUP.to_owned(),
            ),
            (
                Method::DELETE,
                below("/providers/Microsoft.EventGrid/eventSubscriptions/e"),
                "eventSubscriptions/delete",
                below("/providers/Microsoft.EventGrid/eventSubscriptions/e"),
            ),
            (
                Method::PATCH,
                below("/eventSubscriptions/e"),
                "topics/eventSubscriptions/write",
                below("/eventSubscriptions/e"),
            ),
        ];
        for (method, path, action, scope) in table {
            let wanted = (format!("Microsoft.EventGrid/{action}"), scope);
            assert_eq!(asked(&method, &path), Some(wanted), "{path}");
        }
        assert_eq!(
            asked(&Method::DELETE, GROUP),
            Some((
                "Microsoft.Resources/subscriptions/resourceGroups/delete".to_owned(),
                GROUP.to_owned()
            ))
        );
        assert_eq!(asked(&Method::GET, "/tenants").unwrap().1, "/");
    }

    #[test]
    fn one_resource_is_no_way_to_another() {
        let topic = format!("{GROUP}/providers/Microsoft.EventGrid/topics/t");
        for path in [
            format!("{topic}/providers/Microsoft.EventGrid/topics/other"),
            format!("{topic}/providers/Microsoft.Communication/communicationServices/other"),
            format!("{GROUP}/providers/Microsoft.Resources/subscriptions/S/resourceGroups/H"),
            format!("{GROUP}/x/providers/Microsoft.EventGrid/eventSubscriptions/e"),
            "/x/y/providers/Microsoft.EventGrid/topics/t".to_owned(),
        ] {
            if Address::parse(&path).is_some() {
                assert_eq!(asked(&Method::PUT, &path), None, "{path}");
            }
        }
    }

    #[test]
    fn a_method_that_a_row_does_not_name_is_not_there() {
        assert_eq!(asked(&Method::PUT, "/tenants"), None);
        assert_eq!(asked(&Method::POST, GROUP), None);
    }
}
