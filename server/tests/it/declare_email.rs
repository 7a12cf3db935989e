//! Email in a file of resources: services, domains, senders, and the link to a communication resource.

use http::Method;
use serde_json::{Value, json};

use crate::cli::{gridpost, json};
use crate::world::World;

const MAIL: &str = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost/providers/Microsoft.Communication/emailServices/mail";

fn file(verified: &str, tracking: &str, display_name: &str) -> String {
    format!(
        "[emailServices.mail]\ndataLocation = 'Germany'\n\
         [emailServices.mail.domains.'shop.example.com']\ndomainManagement = 'CustomerManaged'\n{verified}{tracking}\
         [emailServices.mail.domains.'shop.example.com'.senderUsernames.orders]\n{display_name}\
         [communicationServices.shop]\ndataLocation = 'Germany'\nlinkedDomains = ['{MAIL}/domains/shop.example.com']\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn section_6_a_verified_domain_is_made_before_the_resource_that_it_is_linked_to() {
    let world = World::start().await;
    let data = world.server().data();
    let run = |text: &str, more: &[&str]| {
        let path = world.folder().join("mail.toml");
        std::fs::write(&path, text).unwrap();
        let words = ["apply", "-f", path.to_str().unwrap(), "--output", "json"];
        gridpost(data, &[&words, more].concat())
    };
    // Mail from a domain that nobody has verified would not be believed.
    let refused = run(&file("", "", ""), &[]);
    assert_eq!(refused.status.code(), Some(5));
    let refused: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(refused["failed"].as_array().unwrap().len(), 1);
    assert_eq!(
        refused["failed"][0]["resource"],
        "communicationServices.shop"
    );
    let reason = refused["failed"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("is not verified"), "{reason}");

    let whole = file(
        "verified = ['Domain', 'SPF']\n",
        "userEngagementTracking = 'Enabled'\n",
        "displayName = 'Orders'\n",
    );
    let plan = json(&run(&whole, &["--dry-run"]));
    let differences = |report: &Value| -> Vec<Value> {
        let all = report["changed"].as_array().unwrap().iter();
        all.flat_map(|one| one["differences"].as_array().unwrap().clone())
            .collect()
    };
    assert_eq!(plan["created"], json!(["communicationServices.shop"]));
    assert_eq!(
        differences(&plan),
        [
            json!({"property": "userEngagementTracking", "from": "Disabled", "to": "Enabled"}),
            json!({"property": "verified", "from": [], "to": ["Domain", "SPF"]}),
            json!({"property": "displayName", "from": null, "to": "Orders"}),
        ]
    );
    let done = json(&run(&whole, &[]));
    assert_eq!(differences(&done), differences(&plan));
    assert_eq!(done["created"], plan["created"]);
    let domain = format!("{MAIL}/domains/shop.example.com");
    let shown = world.manage(Method::GET, &domain, Value::Null).await;
    let states = &shown["properties"]["verificationStates"];
    assert_eq!(states["SPF"]["status"], "Verified");
    assert_eq!(states["DKIM"]["status"], "NotStarted");

    let tail = world.server().store().tail();
    let again = json(&run(&whole, &[]));
    assert_eq!(
        (&again["created"], &again["changed"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(world.server().store().tail(), tail, "nothing is written");

    // What the file no longer says has its default; what was verified stays so.
    let back = json(&run(&file("", "", ""), &[]));
    assert_eq!(
        differences(&back),
        [
            json!({"property": "userEngagementTracking", "from": "Enabled", "to": "Disabled"}),
            json!({"property": "displayName", "from": "Orders", "to": null}),
        ]
    );
    let shown = world.manage(Method::GET, &domain, Value::Null).await;
    assert_eq!(
        shown["properties"]["verificationStates"]["SPF"]["status"],
        "Verified"
    );
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_change_need_not_be_said_again() {
    let world = World::start().await;
    let data = world.server().data();
    let apply = |text: &str| {
        let path = world.folder().join("mail.toml");
        std::fs::write(&path, text).unwrap();
        let words = ["apply", "-f", path.to_str().unwrap(), "--output", "json"];
        json(&gridpost(data, &words))
    };
    apply(&file("verified = ['Domain']\n", "", ""));
    let changed = apply(
        "[emailServices.mail]\ntags = { a = 'b' }\n[emailServices.mail.domains.'shop.example.com']\ntags = { a = 'b' }\n\
         [communicationServices.shop]\ntags = { a = 'b' }\n",
    );
    assert_eq!(changed["changed"].as_array().unwrap().len(), 3, "{changed}");
    let shown = world.manage(Method::GET, MAIL, Value::Null).await;
    assert_eq!(shown["tags"], json!({"a": "b"}));
    assert_eq!(shown["properties"]["dataLocation"], "Germany");
    world.settle().await;
}
