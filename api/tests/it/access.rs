//! Who may call what: every route there is, asked for by everybody.
//!
//! The table is `access.txt`. A route that it does not name fails the test, and so does a line for a route that is not
//! there: to add a route is to decide who may use it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use gridpost_api::{Profile, arm};
use gridpost_model::Role;
use gridpost_model::role::{CONTRIBUTOR, DATA_SENDER, OWNER, READER};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::manager::{HOST, Manager, SUBSCRIPTION};
use crate::stack::{Stack, resource_id};

const TABLE: &str = include_str!("access.txt");

const GROUP: &str = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost";

/// What waits this long was let in, and waits for something to happen.
const LET_IN_AFTER: Duration = Duration::from_millis(300);

/// Who calls: their letter in the table, and the role they hold.
const CALLERS: [(char, &str, Option<&Role>); 5] = [
    ('o', "owner", Some(OWNER)),
    ('c', "contributor", Some(CONTRIBUTOR)),
    ('r', "reader", Some(READER)),
    ('s', "sender", Some(DATA_SENDER)),
    ('-', "nobody", None),
];

/// What each method of each route allows: the letters of those who may, or a word for those that no role opens.
fn table() -> BTreeMap<(String, String), &'static str> {
    let lines = TABLE.lines().filter(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let mut rows = BTreeMap::new();
    for line in lines {
        let words: Vec<&'static str> = line.split_whitespace().collect();
        let [who, methods, path] = words[..] else {
            panic!("not a row: {line}");
        };
        for method in methods.split('|') {
            let key = (method.to_owned(), path.to_owned());
            assert!(rows.insert(key, who).is_none(), "twice: {line}");
        }
    }
    rows
}

/// A path that the names of a route are filled into.
fn filled(path: &str) -> String {
    let mut filled = String::new();
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            filled.push('/');
        }
        let before = filled.rsplit('/').nth(1).unwrap_or_default().to_owned();
        match segment {
            "{resource}" => {
                filled.pop();
                filled.push_str(resource_id("dev").as_str());
            }
            "{}" if before == "subscriptions" => {
                filled.push_str(SUBSCRIPTION.rsplit('/').next().unwrap_or_default());
            }
            "{}" if before == "resourceGroups" => filled.push_str("gridpost"),
            name if name.starts_with('{') && name.ends_with('}') => filled.push_str("xxx"),
            word => filled.push_str(word),
        }
    }
    filled
}

/// How a call was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    LetIn,
    Refused,
    NoSuchMethod,
}

async fn judged(stack: &Stack, method: &str, path: &str, token: &str) -> Judged {
    let request = Request::builder()
        .method(method)
        .uri(format!("{path}?api-version=2025-02-15"))
        .header("host", HOST)
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    let answered = stack.router.clone().oneshot(request);
    let Ok(answer) = tokio::time::timeout(LET_IN_AFTER, answered).await else {
        return Judged::LetIn;
    };
    match answer.unwrap().status() {
        StatusCode::METHOD_NOT_ALLOWED => Judged::NoSuchMethod,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Judged::Refused,
        _ => Judged::LetIn,
    }
}

/// The audience that a path's surface wants.
fn audience(path: &str) -> &'static str {
    let first = path.split('/').nth(1).unwrap_or_default();
    match first {
        "_gridpost" | "v1.0" | "subscriptions" | "providers" | "tenants" => {
            "https://management.azure.com"
        }
        _ if path.ends_with("/api/events") => "https://eventgrid.azure.net",
        _ => "https://communication.azure.com",
    }
}

#[tokio::test]
async fn every_route_lets_in_whom_the_table_names_and_nobody_else() {
    // In production nobody is let in for being on this machine.
    let stack = Stack::start_as(Profile::Production).await;
    let mut tokens = BTreeMap::new();
    for (letter, name, role) in CALLERS {
        // Only the owner holds its role above all: principals belong to no subscription.
        let scope = if letter == 'o' { "/" } else { SUBSCRIPTION };
        let roles: Vec<_> = role.map(|role| (role, scope)).into_iter().collect();
        stack.introduce(name, &roles).await;
        for scope in [
            "https://management.azure.com",
            "https://eventgrid.azure.net",
            "https://communication.azure.com",
        ] {
            let token = stack.token_as(name, &format!("{scope}/.default")).await;
            tokens.insert((letter, scope), token);
        }
    }
    let owner = stack.token().await;
    let manager = Manager {
        stack: &stack,
        token: owner.clone(),
    };
    let topic = json!({"location": "local"});
    manager.put("/resourceGroups/gridpost", topic.clone()).await;
    for kind in ["topics", "domains"] {
        let path = format!("/resourceGroups/gridpost/providers/Microsoft.EventGrid/{kind}/xxx");
        manager.put(&path, topic.clone()).await;
    }

    let mut rows = table();
    let mut routes: Vec<(String, String)> = Vec::new();
    for path in stack.paths() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let path = path.to_owned();
            if judged(&stack, method, &filled(&path), &owner).await != Judged::NoSuchMethod {
                routes.push((method.to_owned(), path));
            }
        }
    }
    let managed = arm::listed().into_iter();
    routes.extend(managed.map(|(method, path)| (method.to_owned(), path)));
    // What is asked for exists until the end.
    routes.sort_by_key(|(method, _)| method == "DELETE");
    let mut wrong = Vec::new();
    for (method, path) in routes {
        let mut may = String::new();
        for (letter, _, _) in CALLERS {
            let token = &tokens[&(letter, audience(&path))];
            if judged(&stack, &method, &filled(&path), token).await == Judged::LetIn {
                may.push(letter);
            }
        }
        let may = match may.as_str() {
            "" => "none",
            "ocrs-" => "all",
            letters => letters,
        };
        match rows.remove(&(method.clone(), path.clone())) {
            None => wrong.push(format!(
                "nobody decided who may {method} {path}; as it is, {may}"
            )),
            Some(who) if who != may => {
                wrong.push(format!("{may} and not {who} may {method} {path}"));
            }
            Some(_) => (),
        }
    }
    wrong.extend(
        rows.into_keys()
            .map(|(method, path)| format!("there is no {method} {path}")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Asks as somebody who was introduced with these roles.
async fn asked(
    stack: &Stack,
    who: &str,
    roles: &[(&Role, &str)],
    (method, path): (&str, &str),
) -> u16 {
    stack.introduce(who, roles).await;
    let token = stack.token_as(who, "https://management.azure.com/.default");
    let token = token.await;
    let manager = Manager { stack, token };
    let answer = manager
        .ask(method, path, json!({"location": "local"}))
        .await;
    answer.status.as_u16()
}

#[tokio::test]
async fn a_role_in_one_group_opens_no_other() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    for group in ["gridpost", "other"] {
        let body = json!({"location": "local"});
        manager.put(&format!("/resourceGroups/{group}"), body).await;
    }
    let here = [(CONTRIBUTOR, GROUP)];
    let topic = "/resourceGroups/gridpost/providers/Microsoft.EventGrid/topics/orders";
    let elsewhere = topic.replace("gridpost", "other");
    let list = "/providers/Microsoft.EventGrid/topics";
    let table = [
        ("PUT", topic, 201),
        ("GET", topic, 200),
        ("PUT", &elsewhere, 403),
        ("GET", list, 403),
        ("GET", "", 200),
        ("DELETE", "/resourceGroups/other", 403),
    ];
    for (index, (method, path, status)) in table.into_iter().enumerate() {
        let who = format!("app{index}");
        let answered = asked(&stack, &who, &here, (method, path)).await;
        assert_eq!(answered, status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_system_topic_needs_a_say_in_its_source_too() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    let body = json!({"location": "local"});
    manager.put("/resourceGroups/mine", body).await;
    let mine = format!("{SUBSCRIPTION}/resourceGroups/mine");
    stack.introduce("app", &[(CONTRIBUTOR, &mine)]).await;
    let token = stack.token_as("app", "https://management.azure.com/.default");
    let app = Manager {
        stack: &stack,
        token: token.await,
    };
    let path = "/resourceGroups/mine/providers/Microsoft.EventGrid/systemTopics/sys";
    let body = json!({"location": "global", "properties": {
        "source": resource_id("dev"), "topicType": "Microsoft.Communication.CommunicationServices",
    }});
    let refused = app.ask("PUT", path, body.clone()).await.json_of(403);
    assert_eq!(refused["error"]["code"], "AuthorizationFailed");
    let said = refused["error"]["message"].as_str().unwrap();
    assert!(
        said.starts_with("The client 'app' with object id 'app' does not have authorization to perform action 'Microsoft.EventGrid/eventSubscriptions/write' over scope"),
        "{said}"
    );
    manager.put(path, body).await;
}

#[tokio::test]
async fn linking_a_domain_needs_a_say_in_it_and_leaving_it_linked_does_not() {
    let stack = Stack::start().await;
    let manager = Manager::sign_in(&stack).await;
    manager
        .put("/resourceGroups/mail", json!({"location": "local"}))
        .await;
    let mail = "/resourceGroups/mail/providers/Microsoft.Communication/emailServices/mail";
    let body = json!({"location": "global", "properties": {"dataLocation": "Europe"}});
    manager.put(mail, body).await;
    let domain = format!("{mail}/domains/AzureManagedDomain");
    let body = json!({"location": "global", "properties": {"domainManagement": "AzureManaged"}});
    let domain = manager.put(&domain, body).await["id"].clone();

    let dev = resource_id("dev");
    stack.introduce("app", &[(CONTRIBUTOR, dev.as_str())]).await;
    let token = stack.token_as("app", "https://management.azure.com/.default");
    let app = Manager {
        stack: &stack,
        token: token.await,
    };
    let dev = format!("/{dev}");
    let link = json!({"properties": {"linkedDomains": [domain]}});
    let refused = app.ask("PATCH", &dev, link.clone()).await.json_of(403);
    let said = refused["error"]["message"].as_str().unwrap();
    assert!(
        said.contains("'Microsoft.Communication/emailServices/domains/write' over scope"),
        "{said}"
    );
    manager.ask("PATCH", &dev, link.clone()).await.json_of(200);
    app.ask("PATCH", &dev, link).await.json_of(200);
}

#[tokio::test]
async fn who_holds_no_role_sees_no_subscription() {
    let stack = Stack::start().await;
    stack.introduce("app", &[]).await;
    let token = stack.token_as("app", "https://management.azure.com/.default");
    let app = Manager {
        stack: &stack,
        token: token.await,
    };
    let listed = app.ask("GET", "//subscriptions", Value::Null).await;
    assert_eq!(listed.json_of(200)["value"], json!([]));
    app.ask("GET", "", Value::Null).await.json_of(403);
    let manager = Manager::sign_in(&stack).await;
    let listed = manager.get("//subscriptions").await;
    assert_eq!(listed["count"]["value"], 1);
}
