//! Who may sign in, who may do what, and who did it.

use std::time::Duration;

use gridpost_grid::audit::{self, AuditQuery, Entry, Kind};
use gridpost_grid::credentials::{Proof, PublicKeys};
use gridpost_grid::entrances::EntranceSpec;
use gridpost_grid::intake::IngressSpec;
use gridpost_grid::manage::ManageError;
use gridpost_grid::principals::{ClientSecret, Principal, Salt, SecretHash, SignInError};
use gridpost_grid::roles::{AssignError, RoleAssignment};
use gridpost_grid::subscriptions::{Source, SubscriptionSpec};
use gridpost_grid::system_topics::SystemTopicSpec;
use gridpost_model::event_type::COMMUNICATION_TOPIC_TYPE;
use gridpost_model::filter::TopicKind;
use gridpost_model::role::{CONTRIBUTOR, READER};
use gridpost_model::{Plane, ResourceId, Secret, Timestamp};
use gridpost_sim::SeededChance;

use crate::endpoint::Endpoint;
use crate::world::{BEGINNING, GROUP, World, communication, topic_id, until};

const NOW: Timestamp = Timestamp::EPOCH;
const READ: &str = "Microsoft.EventGrid/topics/read";

/// A principal with these secrets, each with the time it expires at.
fn principal(client_id: &str, secrets: &[(&str, Option<Timestamp>)]) -> Principal {
    let chance = SeededChance::new(9);
    let made = |(text, expires): &(&str, Option<Timestamp>)| {
        let secret = Secret::new(*text);
        let hash = SecretHash::of_chosen(&secret, Salt::fresh(&chance));
        ClientSecret::new(text, &secret, hash, NOW, *expires)
    };
    Principal {
        secrets: secrets.iter().map(made).collect(),
        ..Principal::new(client_id, &format!("o-{client_id}"), "somebody", NOW)
    }
}

fn assignment(name: &str, who: &str, role: &str, scope: &str) -> RoleAssignment {
    RoleAssignment {
        name: name.into(),
        scope: scope.into(),
        principal_id: who.into(),
        role: role.into(),
        description: None,
        created: NOW,
        created_by: "me".into(),
    }
}

fn entry(at: Timestamp, principal: &str, status: u16) -> Entry {
    Entry {
        at,
        principal: principal.into(),
        object_id: None,
        address: None,
        action: "Microsoft.EventGrid/topics/write".into(),
        scope: format!("{GROUP}/providers/Microsoft.EventGrid/topics/t"),
        status,
        code: None,
        correlation_id: "c".into(),
        client_request_id: None,
        command: None,
        request: None,
    }
}

#[tokio::test]
async fn either_secret_signs_in_until_it_expires_also_after_a_restart() {
    let world = World::start();
    let later = NOW + Duration::from_secs(60);
    let app = principal("App", &[("first", None), ("second", Some(later))]);
    world.grid.put_principal(app).await.unwrap();
    let world = world.restart().await;
    // The second round is answered from memory, and no less strictly.
    for _ in 0..2 {
        let tried = async |secret: &str, now| {
            let offered = Secret::new(secret);
            let signed_in = world.grid.sign_in("APP", &offered, now).await;
            signed_in.map(|one| one.principal.object_id.clone())
        };
        assert_eq!(tried("first", later).await.unwrap(), "o-App");
        assert_eq!(tried("second", NOW).await.unwrap(), "o-App");
        assert_eq!(tried("second", later).await, Err(SignInError::Expired));
        assert_eq!(tried("third", NOW).await, Err(SignInError::WrongSecret));
    }
    let nobody = world.grid.sign_in("nobody", &Secret::new("x"), NOW).await;
    assert_eq!(nobody.unwrap_err(), SignInError::Unknown);
}

#[tokio::test]
async fn a_secret_that_was_taken_away_opens_nothing_any_more() {
    let world = World::start();
    let app = principal("app", &[("first", None), ("second", None)]);
    world.grid.put_principal(app).await.unwrap();
    let first = Secret::new("first");
    world.grid.sign_in("app", &first, NOW).await.unwrap();
    assert!(world.grid.remove_secret("APP", "first").await.unwrap());
    assert!(!world.grid.remove_secret("app", "first").await.unwrap());
    let tried = world.grid.sign_in("app", &first, NOW).await;
    assert_eq!(tried.unwrap_err(), SignInError::WrongSecret);
}

#[tokio::test]
async fn those_who_try_many_secrets_wait_and_then_are_turned_away_but_not_who_is_known() {
    let world = World::start();
    let app = principal("app", &[("right", None)]);
    world.grid.put_principal(app).await.unwrap();
    let right = Secret::new("right");
    world.grid.sign_in("app", &right, NOW).await.unwrap();
    let guesses = (0..40).map(|number| {
        let grid = world.grid.clone();
        tokio::spawn(async move {
            let guess = Secret::new(format!("guess {number}"));
            grid.sign_in("app", &guess, NOW).await.unwrap_err()
        })
    });
    let guesses: Vec<_> = guesses.collect();
    tokio::task::yield_now().await;
    world.grid.sign_in("app", &right, NOW).await.unwrap();
    let mut turned_away = 0;
    for guess in guesses {
        match guess.await.unwrap() {
            SignInError::Busy => turned_away += 1,
            other => assert_eq!(other, SignInError::WrongSecret),
        }
    }
    assert!(turned_away > 0);
}

#[tokio::test]
async fn who_hangs_up_while_a_secret_is_tried_has_had_a_turn_all_the_same() {
    let world = World::start();
    let app = principal("app", &[("right", None)]);
    world.grid.put_principal(app).await.unwrap();
    let guess = || {
        let grid = world.grid.clone();
        tokio::spawn(async move {
            let guess = Secret::new("guess");
            grid.sign_in("app", &guess, NOW).await.unwrap_err()
        })
    };
    let hung_up = guess();
    tokio::task::yield_now().await;
    hung_up.abort();
    assert!(hung_up.await.unwrap_err().is_cancelled());
    // A secret takes a tenth of a second, and these are all there long before that.
    let guesses: Vec<_> = (0..16).map(|_| guess()).collect();
    let mut turned_away = 0;
    for guess in guesses {
        turned_away += usize::from(guess.await.unwrap() == SignInError::Busy);
    }
    assert_eq!(turned_away, 1);
}

#[tokio::test]
async fn secrets_made_and_taken_away_at_once_do_not_undo_each_other() {
    let world = World::start();
    let app = principal("app", &[("leaked", None)]);
    world.grid.put_principal(app).await.unwrap();
    let made = principal("any", &[("new", None)]).secrets.remove(0);
    let (added, removed) = tokio::join!(
        world.grid.add_secret("app", made.clone()),
        world.grid.remove_secret("app", "leaked"),
    );
    assert!(added.unwrap().is_some() && removed.unwrap());
    let known = world.grid.principal("app").unwrap();
    assert_eq!(known.secrets, std::slice::from_ref(&made));

    let (deleted, added) = tokio::join!(
        world.grid.delete_principal("app"),
        world.grid.add_secret("app", made),
    );
    assert!(deleted.unwrap() && added.unwrap().is_none());
    assert!(world.grid.principal("app").is_none());
    assert!(world.restart().await.grid.principal("app").is_none());
}

#[tokio::test]
async fn a_secret_of_the_same_name_is_another_secret() {
    let world = World::start();
    let app = principal("app", &[("s", Some(NOW + Duration::from_secs(60)))]);
    let mark = app.secrets[0].mark();
    world.grid.put_principal(app.clone()).await.unwrap();
    let has = |now| world.grid.principal("app").unwrap().has_secret(&mark, now);
    assert!(has(NOW) && !has(NOW + Duration::from_secs(60)));
    let mut other = app;
    let hash = SecretHash::of_random(&Secret::new("s"), Salt::fresh(&SeededChance::new(10)));
    other.secrets[0].hash = hash;
    world.grid.put_principal(other).await.unwrap();
    assert!(!has(NOW));
}

#[tokio::test]
async fn a_third_secret_and_another_s_object_id_are_refused() {
    let world = World::start();
    let three = principal("a", &[("1", None), ("2", None), ("3", None)]);
    let refused = world.grid.put_principal(three).await;
    assert!(matches!(refused, Err(ManageError::Invalid(_))));
    let beside = principal("c", &[("1", None), ("2", None), ("configuration", None)]);
    world.grid.put_principal(beside).await.unwrap();
    for unfit in ["a/b", "", "a b"] {
        let refused = world.grid.put_principal(principal(unfit, &[])).await;
        assert!(matches!(refused, Err(ManageError::Invalid(_))), "{unfit}");
    }
    world.grid.put_principal(principal("a", &[])).await.unwrap();
    let mut other = principal("b", &[]);
    other.object_id = "O-A".into();
    let refused = world.grid.put_principal(other).await;
    assert!(matches!(refused, Err(ManageError::Conflict(_))));
}

#[tokio::test]
async fn another_principal_of_the_same_name_is_not_opened_by_the_credentials_of_the_first() {
    let world = World::start();
    let proof = || Proof::Federated {
        issuer: "https://ci.example".into(),
        subject: "repo".into(),
        audiences: Vec::new(),
        keys: PublicKeys::default(),
    };
    for who in ["app", "app2"] {
        world.grid.put_principal(principal(who, &[])).await.unwrap();
        let put = world.grid.put_credential(who, "ci", proof());
        put.await.unwrap();
    }
    assert!(world.grid.delete_principal("APP").await.unwrap());
    assert!(world.grid.credentials_of("app").is_empty());
    let world = world.restart().await;
    world
        .grid
        .put_principal(principal("app", &[]))
        .await
        .unwrap();
    assert!(world.grid.credentials_of("app").is_empty());
    assert_eq!(world.grid.credentials_of("app2").len(), 1);
}

#[tokio::test]
async fn a_role_counts_where_it_was_assigned_and_below_and_after_a_restart() {
    let world = World::start();
    world.grid.put_principal(principal("a", &[])).await.unwrap();
    let reader = assignment("n1", "o-a", READER.id, GROUP);
    world.grid.assign_role(reader.clone()).await.unwrap();
    let world = world.restart().await;
    let may = |action: &str, scope: &str| world.grid.may("O-A", Plane::Management, action, scope);
    let topic = format!("{GROUP}/providers/Microsoft.EventGrid/topics/t");
    assert!(may(READ, &topic) && may(READ, GROUP));
    assert!(!may(READ, "/") && !may(READ, &format!("{GROUP}2")));
    assert!(!may("Microsoft.EventGrid/topics/write", &topic));
    assert!(!world.grid.may("o-b", Plane::Management, READ, &topic));

    let (again, _) = world.grid.assign_role(reader).await.unwrap();
    assert_eq!(again.name, "n1");
    assert!(world.grid.unassign_role("/", "n1").await.unwrap().is_none());
    let gone = world.grid.unassign_role(GROUP, "N1").await.unwrap();
    assert_eq!(gone.unwrap().role, READER.id);
    assert!(!may(READ, &topic));
    assert!(
        world
            .grid
            .unassign_role(GROUP, "n1")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn an_assignment_is_made_once_cannot_be_changed_and_needs_somebody_and_a_role() {
    let world = World::start();
    world.grid.put_principal(principal("a", &[])).await.unwrap();
    let shouted = GROUP.to_uppercase();
    let assign = async |name, who, role, scope| {
        let wanted = assignment(name, who, role, scope);
        world.grid.assign_role(wanted).await
    };
    assign("n1", "o-a", READER.id, GROUP).await.unwrap();
    let twice = assign("n2", "O-A", READER.id, &shouted).await;
    assert!(matches!(twice, Err(AssignError::Exists(one)) if one.name == "n1"));
    let changed = assign("N1", "o-a", CONTRIBUTOR.id, GROUP).await;
    assert!(matches!(changed, Err(AssignError::Different)));
    let nobody = assign("n3", "a", READER.id, GROUP).await;
    assert!(matches!(nobody, Err(AssignError::NoPrincipal(_))));
    for (role, scope) in [("none", GROUP), (READER.id, "nowhere")] {
        let wrong = assign("n4", "o-a", role, scope).await;
        let is_invalid = matches!(wrong, Err(AssignError::Refused(ManageError::Invalid(_))));
        assert!(is_invalid, "{role} {scope}");
    }
}

#[tokio::test]
async fn roles_go_with_their_principal_and_with_what_they_were_assigned_at() {
    let world = World::start();
    for (who, name, scope) in [
        ("a", "n1", "/subscriptions/sub"),
        ("b", "n2", GROUP),
        ("b", "n3", "/subscriptions/sub"),
    ] {
        world.grid.put_principal(principal(who, &[])).await.unwrap();
        let wanted = assignment(name, &format!("o-{who}"), READER.id, scope);
        world.grid.assign_role(wanted).await.unwrap();
    }
    world.grid.forget_roles_at(GROUP).await.unwrap();
    assert!(world.grid.delete_principal("A").await.unwrap());
    assert!(!world.grid.delete_principal("A").await.unwrap());
    let world = world.restart().await;
    let left = world.grid.role_assignments();
    let names: Vec<_> = left.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["n3"]);
}

impl World {
    /// Assigns a role at each of these.
    async fn assign_at(&self, scopes: &[String]) {
        self.grid.put_principal(principal("a", &[])).await.unwrap();
        for (number, scope) in scopes.iter().enumerate() {
            let wanted = assignment(&format!("n{number}"), "o-a", READER.id, scope);
            self.grid.assign_role(wanted).await.unwrap();
        }
    }

    fn assigned_at(&self) -> Vec<String> {
        let all = self.grid.role_assignments();
        all.iter().map(|one| one.scope.clone()).collect()
    }

    /// Subscribes to a topic of ours for a minute.
    async fn subscribe_briefly(&self, source: &ResourceId, name: &str, endpoint: &Endpoint) {
        let spec = SubscriptionSpec {
            expires: Some(BEGINNING + Duration::from_secs(60)),
            ..SubscriptionSpec::to(endpoint.url())
        };
        let (id, kind) = (source.clone(), TopicKind::Custom);
        let source = Source { id, kind };
        let made = self.grid.put_event_subscription(&source, name, spec);
        made.await.unwrap();
    }
}

fn entrance() -> EntranceSpec {
    EntranceSpec {
        location: "local".into(),
        tags: std::collections::BTreeMap::new(),
        ingress: IngressSpec::default(),
        automation: None,
    }
}

/// Both forms of a subscription's path on a resource.
fn both(on: &ResourceId, name: &str) -> [String; 2] {
    [
        format!("{on}/eventSubscriptions/{name}"),
        format!("{on}/providers/Microsoft.EventGrid/EVENTSUBSCRIPTIONS/{name}"),
    ]
}

#[tokio::test]
async fn roles_go_with_a_subscription_that_expires_and_with_the_domain_topic_it_leaves_empty() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let domain: ResourceId = format!("{GROUP}/providers/Microsoft.EventGrid/domains/shop")
        .parse()
        .unwrap();
    let automation = Some(gridpost_grid::domain_topics::Automation::default());
    let spec = EntranceSpec {
        automation,
        ..entrance()
    };
    world.grid.put_entrance(domain.clone(), spec).await.unwrap();
    world
        .grid
        .put_entrance(topic_id("orders"), entrance())
        .await
        .unwrap();
    let below = domain.join("topics/one").unwrap();
    world.subscribe_briefly(&below, "last", &endpoint).await;
    world
        .subscribe_briefly(&topic_id("orders"), "es1", &endpoint)
        .await;
    let mut scopes = vec![
        below.to_string(),
        domain.to_string(),
        topic_id("orders").to_string(),
    ];
    scopes.extend(both(&below, "last"));
    scopes.extend(both(&topic_id("orders"), "es1"));
    scopes.extend(both(&topic_id("orders"), "es2"));
    world.assign_at(&scopes).await;
    world.advance(Duration::from_secs(60));
    let kept = [&scopes[1..3], &scopes[7..]].concat();
    until("the roles are gone", || world.assigned_at() == kept).await;
    let world = world.restart().await;
    assert_eq!(world.assigned_at(), kept);
}

#[tokio::test]
async fn roles_go_with_a_subscription_in_whatever_form_it_is_deleted() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    world.subscribe("es1", &endpoint).await;
    let source = communication().id;
    let stands_for_it = world.grid.system_topic_of(&source).unwrap().id.clone();
    let mut scopes = vec![source.to_string(), stands_for_it.to_string()];
    scopes.extend(both(&source, "ES1"));
    scopes.extend(both(&stands_for_it, "es1"));
    world.assign_at(&scopes).await;
    assert!(
        world
            .grid
            .delete_event_subscription(&source, "es1")
            .await
            .unwrap()
    );
    assert_eq!(world.assigned_at(), scopes[..2]);
}

#[tokio::test]
async fn roles_go_with_a_system_topic_and_with_the_source_that_it_goes_with() {
    let world = World::start();
    let endpoint = Endpoint::agreeing().await;
    let source = communication().id;
    let elsewhere: ResourceId =
        "/subscriptions/sub/resourceGroups/other/providers/Microsoft.EventGrid/systemTopics/st1"
            .parse()
            .unwrap();
    let mut scopes = vec![elsewhere.to_string(), source.to_string()];
    scopes.extend(both(&elsewhere, "es1"));
    scopes.push(both(&source, "es1")[1].clone());
    for is_source_left in [true, false] {
        let spec = SystemTopicSpec {
            location: "global".into(),
            tags: std::collections::BTreeMap::new(),
            source: source.clone(),
            topic_type: COMMUNICATION_TOPIC_TYPE.into(),
        };
        let made = world.grid.put_system_topic(elsewhere.clone(), spec);
        made.await.unwrap();
        world.subscribe("es1", &endpoint).await;
        world.grid.forget_roles_at("/").await.unwrap();
        world.assign_at(&scopes).await;
        if is_source_left {
            assert!(world.grid.delete_system_topic(&elsewhere).await.unwrap());
            assert_eq!(world.assigned_at(), scopes[1..2]);
        } else {
            world.grid.remove_source(&source).await.unwrap();
            assert_eq!(world.assigned_at(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn roles_go_with_a_group_and_with_what_is_in_it() {
    let world = World::start();
    let group: ResourceId = GROUP.parse().unwrap();
    let made = world
        .grid
        .put_resource_group(group.clone(), "local".into(), Default::default());
    made.await.unwrap();
    let elsewhere = format!("{GROUP}2");
    let scopes = [
        GROUP.to_uppercase(),
        topic_id("never").to_string(),
        elsewhere.clone(),
    ];
    world.assign_at(&scopes).await;
    assert!(world.grid.delete_resource_group(&group).await.unwrap());
    assert_eq!(world.assigned_at(), [elsewhere]);
}

#[tokio::test]
async fn an_assignment_keeps_the_role_s_guid_and_a_description_of_bounded_length() {
    let world = World::start();
    world.grid.put_principal(principal("a", &[])).await.unwrap();
    let by_name = assignment("n1", "o-a", "reader", GROUP);
    let (kept, _) = world.grid.assign_role(by_name).await.unwrap();
    assert_eq!(kept.role, READER.id);
    let by_guid = assignment("n2", "o-a", READER.id, GROUP);
    let twice = world.grid.assign_role(by_guid).await;
    assert!(matches!(twice, Err(AssignError::Exists(one)) if one.name == "n1"));
    let long = RoleAssignment {
        description: Some("x".repeat(gridpost_grid::roles::MOST_DESCRIPTION_CHARS + 1)),
        ..assignment("n3", "o-a", READER.id, "/")
    };
    let refused = world.grid.assign_role(long).await;
    assert!(matches!(
        refused,
        Err(AssignError::Refused(ManageError::Invalid(_)))
    ));
}

#[tokio::test]
async fn the_audit_log_is_read_from_the_newest_in_pages_and_by_filters() {
    let world = World::start();
    for number in 0..5_u16 {
        let at = NOW + Duration::from_secs(u64::from(number));
        let who = if number % 2 == 0 { "Even" } else { "odd" };
        let row = entry(at, who, 200 + 101 * number);
        let kind = [Kind::Change, Kind::Look, Kind::Refusal][usize::from(number % 3)];
        world.grid.write_audit(kind, row).await.unwrap();
    }
    let world = world.restart().await;
    let rows = |query: AuditQuery| {
        let query = AuditQuery { limit: 10, ..query };
        let page = world.grid.audit(&query, |_| true).unwrap();
        let statuses = page.rows.into_iter().map(|(_, row)| row.status);
        statuses.collect::<Vec<_>>()
    };
    assert_eq!(rows(AuditQuery::default()), [604, 503, 402, 301, 200]);
    let even = AuditQuery {
        principal: Some("even".into()),
        ..AuditQuery::default()
    };
    assert_eq!(rows(even), [604, 402, 200]);
    let done = AuditQuery {
        refused: Some(false),
        scope: Some(GROUP.to_uppercase()),
        action: Some("TOPICS/".into()),
        ..AuditQuery::default()
    };
    assert_eq!(rows(done), [301, 200]);
    let between = AuditQuery {
        since: Some(NOW + Duration::from_secs(1)),
        until: Some(NOW + Duration::from_secs(3)),
        ..AuditQuery::default()
    };
    assert_eq!(rows(between), [402, 301]);

    let mut query = AuditQuery {
        limit: 2,
        ..AuditQuery::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = world.grid.audit(&query, |_| true).unwrap();
        seen.extend(page.rows.iter().map(|(_, row)| row.status));
        match page.next {
            Some(next) => query.before = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, [604, 503, 402, 301, 200]);
}

#[tokio::test]
async fn rows_of_the_audit_log_go_when_they_are_old() {
    for kind in [Kind::Change, Kind::Look, Kind::Refusal] {
        let world = World::start();
        let edge = NOW + audit::KEPT;
        let before = NOW + (audit::KEPT - Duration::from_secs(1));
        for (at, who) in [(NOW, "old"), (before, "new"), (edge, "new")] {
            let row = entry(at, who, 200);
            world.grid.write_audit(kind, row).await.unwrap();
        }
        let query = AuditQuery {
            limit: 10,
            ..AuditQuery::default()
        };
        let left = world.grid.audit(&query, |_| true).unwrap().rows;
        let who: Vec<_> = left.iter().map(|(_, row)| row.principal.as_str()).collect();
        assert_eq!(who, ["new", "new"], "{kind:?}");
    }
}

#[tokio::test]
async fn refusals_are_counted_for_each_principal() {
    let world = World::start();
    for at in [NOW, NOW + Duration::from_secs(60)] {
        for number in 0..100 {
            for who in ["nobody", "other"] {
                // What is wrong for another reason than a role counts as well.
                let refused = entry(at, who, [400, 403][number % 2]);
                let written = world.grid.write_audit(Kind::Refusal, refused);
                written.await.unwrap();
            }
        }
        let last = entry(at, "owner", 403);
        world.grid.write_audit(Kind::Refusal, last).await.unwrap();
    }
    let query = AuditQuery {
        limit: 1_000,
        ..AuditQuery::default()
    };
    let rows = world.grid.audit(&query, |_| true).unwrap().rows;
    let of = |who: &str| rows.iter().filter(|(_, row)| row.principal == who).count();
    assert_eq!((of("nobody"), of("other"), of("owner")), (120, 120, 2));
}

#[tokio::test]
async fn a_reader_is_shown_what_it_may_see() {
    let world = World::start();
    for who in ["a", "b", "a"] {
        let row = entry(NOW, who, 200);
        world.grid.write_audit(Kind::Change, row).await.unwrap();
    }
    let query = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    let page = world
        .grid
        .audit(&query, |row| row.principal == "b")
        .unwrap();
    assert_eq!(page.rows.len(), 1);
}
