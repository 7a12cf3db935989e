//! Resources around email, as management clients make them.

use serde_json::{Value, json};

use crate::manager::{HOST, Manager};
use crate::stack::Stack;

const NOTHING: Value = Value::Null;
const MAIL: &str = "/resourceGroups/rg1/providers/Microsoft.Communication/emailServices/mail";
const ACS: &str = "/resourceGroups/rg1/providers/Microsoft.Communication/communicationServices/acs";
const ADDRESS: &str = "6f9619ff-8b86-d011-b42d-00cf4fc964ff";

fn service() -> Value {
    json!({"location": "global", "properties": {"dataLocation": "Europe"}})
}

fn customer() -> Value {
    json!({"location": "global", "properties": {"domainManagement": "customermanaged"}})
}

async fn with_service(stack: &Stack) -> Manager<'_> {
    let manager = Manager::sign_in(stack).await;
    manager
        .put("/resourceGroups/rg1", json!({"location": "local"}))
        .await;
    manager.put(MAIL, service()).await;
    manager
}

#[tokio::test]
async fn management_6_everything_around_email_lives_below_its_service() {
    let stack = Stack::start().await;
    let manager = with_service(&stack).await;
    let domain = format!("{MAIL}/domains/example.com");
    let list = format!("{domain}/suppressionLists/bounced");
    let table = [
        (domain.clone(), customer()),
        (
            format!("{domain}/senderUsernames/info"),
            json!({"properties": {"username": "info", "displayName": "Info"}}),
        ),
        (list.clone(), json!({"properties": {"listName": "bounced"}})),
        (
            format!("{list}/suppressionListAddresses/{ADDRESS}"),
            json!({"properties": {"email": "a@b.example", "notes": "twice"}}),
        ),
    ];
    for (path, body) in &table {
        let made = manager.ask("PUT", path, body.clone()).await.json_of(201);
        let again = manager.ask("PUT", path, body.clone()).await.json_of(200);
        assert_eq!(made["id"], again["id"], "{path}");
        assert_eq!(made["properties"]["dataLocation"], "Europe", "{path}");
        let above = path.rsplit_once('/').unwrap().0;
        let listed = manager.get(above).await;
        assert_eq!(listed["value"][0]["id"], made["id"], "{above}");
        assert_eq!(
            manager
                .get(
                    &path
                        .to_uppercase()
                        .replace("/RESOURCEGROUPS/RG1", "/resourceGroups/rg1")
                )
                .await["id"],
            made["id"]
        );
    }
    for (path, _) in table.iter().rev() {
        assert_eq!(
            manager.ask("DELETE", path, NOTHING).await.status,
            200,
            "{path}"
        );
        assert_eq!(
            manager.ask("DELETE", path, NOTHING).await.status,
            204,
            "{path}"
        );
        assert_eq!(
            manager.ask("GET", path, NOTHING).await.status,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn management_6_a_service_takes_what_is_below_it_along() {
    let stack = Stack::start().await;
    let manager = with_service(&stack).await;
    let domain = format!("{MAIL}/domains/example.com");
    manager.put(&domain, customer()).await;
    let sender = format!("{domain}/senderUsernames/info");
    manager
        .put(&sender, json!({"properties": {"username": "info"}}))
        .await;
    let listed = manager.get("/resources").await;
    assert_eq!(
        listed
            .to_string()
            .matches("emailServices/domains\"")
            .count(),
        1
    );
    assert_eq!(manager.ask("DELETE", MAIL, NOTHING).await.status, 200);
    manager.put(MAIL, service()).await;
    assert_eq!(manager.ask("GET", &domain, NOTHING).await.status, 404);
    assert_eq!(manager.ask("GET", &sender, NOTHING).await.status, 404);
    manager.put(&domain, customer()).await;
    manager.ask("DELETE", "/resourceGroups/rg1", NOTHING).await;
    let all = manager
        .get("/providers/Microsoft.Communication/emailServices")
        .await;
    assert_eq!(all["value"], json!([]));
}

#[tokio::test]
async fn management_6_a_domain_is_verified_record_by_record_and_can_then_be_linked() {
    let stack = Stack::start().await;
    let manager = with_service(&stack).await;
    let domain = format!("{MAIL}/domains/example.com");
    let made = manager.put(&domain, customer()).await;
    let states = &made["properties"]["verificationStates"];
    assert_eq!(states["Domain"]["status"], "NotStarted");
    assert_eq!(made["properties"]["domainManagement"], "CustomerManaged");
    let records = &made["properties"]["verificationRecords"];
    assert_eq!(records["Domain"]["type"], "TXT");

    let link = json!({"location": "global", "properties": {"dataLocation": "Europe", "linkedDomains": [made["id"]]}});
    assert_eq!(manager.ask("PUT", ACS, link.clone()).await.status, 400);
    let verify = format!("{domain}/initiateVerification");
    let begun = manager
        .ask("POST", &verify, json!({"verificationType": "domain"}))
        .await;
    assert_eq!(begun.status, 202);
    let place = begun.headers["location"].to_str().unwrap();
    let target = place.strip_prefix(&format!("http://{HOST}")).unwrap();
    let done = manager.raw("GET", target, NOTHING).await.json_of(200);
    assert_eq!(done["status"], "Succeeded");
    let shown = manager.get(&domain).await;
    let states = &shown["properties"]["verificationStates"];
    assert_eq!(states["Domain"]["status"], "Verified");
    assert_eq!(states["SPF"]["status"], "NotStarted");
    assert_eq!(shown["properties"]["verificationRecords"], *records);
    assert_eq!(manager.ask("PUT", ACS, link).await.status, 201);

    let unlinked = json!({"properties": {"linkedDomains": []}});
    manager.ask("PATCH", ACS, unlinked).await.json_of(200);
    let cancel = format!("{domain}/cancelVerification");
    let cancelled = manager
        .ask("POST", &cancel, json!({"verificationType": "Domain"}))
        .await;
    assert_eq!(cancelled.status, 202);
    let changed = manager
        .ask(
            "PATCH",
            &domain,
            json!({"tags": {"a": "b"}, "properties": {"userEngagementTracking": "enabled"}}),
        )
        .await
        .json_of(200);
    assert_eq!(changed["properties"]["userEngagementTracking"], "Enabled");
    assert_eq!(changed["tags"], json!({"a": "b"}));
}

/// A verified domain, its path and its id.
async fn with_verified_domain(manager: &Manager<'_>) -> (String, Value) {
    let domain = format!("{MAIL}/domains/example.com");
    let made = manager.put(&domain, customer()).await;
    let verify = format!("{domain}/initiateVerification");
    let begun = manager
        .ask("POST", &verify, json!({"verificationType": "Domain"}))
        .await;
    assert_eq!(begun.status, 202);
    (domain, made["id"].clone())
}

#[tokio::test]
async fn of_two_who_change_a_domain_at_once_neither_is_lost_and_none_brings_it_back() {
    let stack = Stack::start().await;
    let manager = with_service(&stack).await;
    let domain = format!("{MAIL}/domains/example.com");
    manager.put(&domain, customer()).await;
    let verify = format!("{domain}/initiateVerification");
    let (tagged, tracked, verified) = tokio::join!(
        manager.ask("PATCH", &domain, json!({"tags": {"a": "b"}})),
        manager.ask(
            "PATCH",
            &domain,
            json!({"properties": {"userEngagementTracking": "Enabled"}})
        ),
        manager.ask("POST", &verify, json!({"verificationType": "SPF"})),
    );
    let statuses = [tagged.status, tracked.status, verified.status];
    assert_eq!(statuses.map(|status| status.as_u16()), [200, 200, 202]);
    let shown = manager.get(&domain).await;
    assert_eq!(shown["tags"], json!({"a": "b"}));
    let properties = &shown["properties"];
    assert_eq!(properties["userEngagementTracking"], "Enabled");
    assert_eq!(
        properties["verificationStates"]["SPF"]["status"],
        "Verified"
    );

    let (deleted, patched, verified) = tokio::join!(
        manager.ask("DELETE", &domain, NOTHING),
        manager.ask("PATCH", &domain, json!({"tags": {}})),
        manager.ask("POST", &verify, json!({"verificationType": "DKIM"})),
    );
    assert_eq!(deleted.status, 200);
    assert_eq!([patched.status, verified.status], [404, 404]);
    assert_eq!(manager.ask("GET", &domain, NOTHING).await.status, 404);
}

#[tokio::test]
async fn a_linked_domain_stays_and_stays_verified_until_it_is_unlinked() {
    let stack = Stack::start().await;
    let manager = with_service(&stack).await;
    let (domain, id) = with_verified_domain(&manager).await;
    let other = ACS.replace("rg1", "rg2");
    let group = json!({"location": "local"});
    manager.put("/resourceGroups/rg2", group).await;
    let shouted = id.as_str().unwrap().to_uppercase();
    let linked = json!([shouted, id]);
    let body = json!({"properties": {"dataLocation": "Europe", "linkedDomains": linked}});
    let made = manager.put(&other, body).await;
    // Once, as the domain is written.
    assert_eq!(made["properties"]["linkedDomains"], json!([id]));

    let cancel = format!("{domain}/cancelVerification");
    for (method, path) in [
        ("DELETE", domain.as_str()),
        ("DELETE", MAIL),
        ("DELETE", "/resourceGroups/rg1"),
        ("POST", &cancel),
    ] {
        let body = json!({"verificationType": "Domain"});
        let refused = manager.ask(method, path, body).await.json_of(409);
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("/rg2/"), "{method} {path}: {message}");
    }
    let other_record = json!({"verificationType": "SPF"});
    let cancelled = manager.ask("POST", &cancel, other_record).await;
    assert_eq!(cancelled.status, 202);
    let unlinked = json!({"properties": {"linkedDomains": []}});
    manager.ask("PATCH", &other, unlinked).await.json_of(200);
    assert_eq!(manager.ask("DELETE", &domain, NOTHING).await.status, 200);
}

#[tokio::test]
async fn a_group_goes_with_a_domain_and_the_resource_that_is_linked_to_it() {
    let stack = Stack::start().await;
    let manager = with_service(&stack).await;
    let (_, id) = with_verified_domain(&manager).await;
    let body = json!({"properties": {"dataLocation": "Europe", "linkedDomains": [id]}});
    manager.put(ACS, body).await;
    let gone = manager.ask("DELETE", "/resourceGroups/rg1", NOTHING).await;
    assert_eq!(gone.status, 200);
}

#[tokio::test]
async fn what_lies_below_a_service_called_providers_is_listed() {
    let stack = Stack::start().await;
    let manager = with_service(&stack).await;
    let service_path = MAIL.replace("/mail", "/providers");
    manager.put(&service_path, service()).await;
    let domain = format!("{service_path}/domains/example.com");
    let made = manager.put(&domain, customer()).await;
    assert_eq!(made["properties"]["dataLocation"], "Europe");
    let listed = manager.get(&format!("{service_path}/domains")).await;
    assert_eq!(listed["value"][0]["id"], made["id"]);
    let resources = manager.get("/resources").await.to_string();
    assert!(resources.contains(made["id"].as_str().unwrap()));
}

#[tokio::test]
async fn management_6_a_domain_of_azure_is_verified_from_the_start() {
    let stack = Stack::start().await;
    let manager = with_service(&stack).await;
    let domain = format!("{MAIL}/domains/AzureManagedDomain");
    let body = json!({"location": "global", "properties": {"domainManagement": "AzureManaged"}});
    let made = manager.put(&domain, body).await;
    let properties = &made["properties"];
    assert_eq!(
        properties["verificationStates"]["DKIM"]["status"],
        "Verified"
    );
    assert!(
        properties["fromSenderDomain"]
            .as_str()
            .unwrap()
            .ends_with(".azurecomm.net")
    );
    assert!(properties.get("verificationRecords").is_none());
}

#[tokio::test]
async fn management_6_what_is_missing_or_wrong_is_named() {
    let stack = Stack::start().await;
    let manager = with_service(&stack).await;
    let domain = format!("{MAIL}/domains/example.com");
    manager.put(&domain, customer()).await;
    let table = [
        (
            MAIL.to_owned(),
            json!({"properties": {}}),
            "properties.dataLocation",
        ),
        (
            MAIL.to_owned(),
            json!({"properties": {"dataLocation": "Asia"}}),
            "properties.dataLocation",
        ),
        (format!("{MAIL}/domains/nodots"), customer(), "domainName"),
        (
            format!("{MAIL}/domains/AzureManagedDomain"),
            customer(),
            "domainName",
        ),
        (
            format!("{MAIL}/domains/x.example"),
            json!({}),
            "properties.domainManagement",
        ),
        (
            domain.clone(),
            json!({"properties": {"domainManagement": "AzureManaged"}}),
            "properties.domainManagement",
        ),
        (
            format!("{domain}/senderUsernames/a"),
            json!({"properties": {"username": "b"}}),
            "properties.username",
        ),
        (
            format!("{domain}/suppressionLists/a"),
            json!({}),
            "properties.listName",
        ),
        (
            format!("{domain}/suppressionLists/a"),
            json!({"properties": {"listName": "x".repeat(1_025)}}),
            "properties.listName",
        ),
        (
            format!("{domain}/suppressionLists/{}", "x".repeat(254)),
            json!({"properties": {"listName": "x"}}),
            "name",
        ),
        (
            format!("{ACS}/smtpUsernames/a"),
            json!({"properties": {"username": "a"}}),
            "properties.entraApplicationId",
        ),
    ];
    for (path, body, field) in table {
        let refused = manager.ask("PUT", &path, body).await.json_of(400);
        assert_eq!(refused["error"]["target"], field, "{path}");
    }
    let orphan = "/resourceGroups/rg1/providers/Microsoft.Communication/emailServices/none/domains/a.example";
    assert_eq!(manager.ask("PUT", orphan, customer()).await.status, 404);
    let listed = "/resourceGroups/rg1/providers/Microsoft.Communication/emailServices/none/domains";
    assert_eq!(manager.ask("GET", listed, NOTHING).await.status, 404);
}

#[tokio::test]
async fn management_6_the_rest_of_communication_services() {
    let stack = Stack::start().await;
    let manager = with_service(&stack).await;
    manager.put(ACS, service()).await;
    let hub = json!({"resourceId": "/subscriptions/s/hub", "connectionString": "Endpoint=sb://x;SharedAccessKey=s3cret"});
    let linked = manager
        .ask("POST", &format!("{ACS}/linkNotificationHub"), hub)
        .await
        .json_of(200);
    assert_eq!(linked, json!({"resourceId": "/subscriptions/s/hub"}));
    let shown = manager.get(ACS).await;
    assert_eq!(
        shown["properties"]["notificationHubId"],
        "/subscriptions/s/hub"
    );
    assert!(!shown.to_string().contains("s3cret"));

    let smtp = format!("{ACS}/smtpUsernames/mailer");
    let body = json!({"properties": {"username": "mailer@shop", "entraApplicationId": "a", "tenantId": "t"}});
    assert_eq!(manager.ask("PUT", &smtp, body).await.status, 201);
    let listed = manager.get(&format!("{ACS}/smtpUsernames")).await;
    assert_eq!(listed["value"][0]["properties"]["username"], "mailer@shop");
    manager.ask("DELETE", ACS, NOTHING).await;
    manager.put(ACS, service()).await;
    assert_eq!(manager.ask("GET", &smtp, NOTHING).await.status, 404);

    let check = async |name: &str| {
        let body = json!({"name": name, "type": "Microsoft.Communication/EmailServices"});
        let path = "/providers/Microsoft.Communication/checkNameAvailability";
        manager.ask("POST", path, body).await.json_of(200)["nameAvailable"].clone()
    };
    assert_eq!(
        (check("MAIL").await, check("dev").await),
        (json!(false), json!(true))
    );
    let none = manager
        .ask(
            "POST",
            "/providers/Microsoft.Communication/listVerifiedExchangeOnlineDomains",
            NOTHING,
        )
        .await;
    assert_eq!(none.json_of(200), json!([]));
    for namespace in ["Microsoft.Communication", "Microsoft.EventGrid"] {
        let all = manager
            .get(&format!("//providers/{namespace}/operations"))
            .await;
        let names: Vec<_> = all["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        assert!(
            names.iter().all(|name| name.starts_with(namespace)),
            "{names:?}"
        );
        assert!(names.len() > 10, "{names:?}");
    }
}
