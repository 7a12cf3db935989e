//! What `gridpost apply` asks for, and what it does when something is refused, silent or changed meanwhile.

use std::process::Output;

use http::Method;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::cli::{gridpost, json};
use crate::world::{World, seconds, subscription_id};

const GROUP: &str = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/gridpost";

fn topic() -> String {
    format!("{GROUP}/providers/Microsoft.EventGrid/topics/orders")
}

/// Without TLS, so that the file need not name an authority.
fn sink(world: &World, name: &str) -> String {
    format!("http://{}/_gridpost/v1/sinks/{name}", world.address())
}

fn words(world: &World, text: &str) -> Vec<String> {
    let path = world.folder().join("apply.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    ["apply", "-f", path, "--output", "json"]
        .map(str::to_owned)
        .into()
}

fn run(world: &World, text: &str, more: &[&str]) -> Output {
    let words = words(world, text);
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    gridpost(world.server().data(), &words)
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// The endpoint of an address that takes connections and never answers.
struct Silent {
    socket: TcpListener,
    held: Vec<TcpStream>,
}

impl Silent {
    async fn listen() -> Self {
        Self {
            socket: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            held: Vec::new(),
        }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.socket.local_addr().unwrap())
    }

    async fn asked(&mut self) {
        let (stream, _) = self.socket.accept().await.unwrap();
        self.held.push(stream);
    }

    /// Lets time pass, which ends handshakes, until the command has ended; the answer is what it wrote.
    async fn outlasted(
        &mut self,
        world: &World,
        command: tokio::task::JoinHandle<Output>,
    ) -> Output {
        let mut command = command;
        loop {
            tokio::select! {
                done = &mut command => return done.unwrap(),
                () = self.asked() => (),
                () = world.advance(seconds(5)) => tokio::task::yield_now().await,
            }
        }
    }
}

fn begin(world: &World, text: &str) -> tokio::task::JoinHandle<Output> {
    let (data, words) = (world.server().data().to_owned(), words(world, text));
    tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        gridpost(&data, &words)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_looks_at_a_secret_only_where_the_file_tells_it() {
    let world = World::start().await;
    let attribute = |value: &str| {
        format!(
            "deliveryAttributeMappings = [{{ name = 'x-key', type = 'Static', properties = {{ {value}isSecret = true }} }}]\n"
        )
    };
    let file = |address: &str| {
        let told = attribute("value = 's3cret', ");
        format!(
            "[topics.orders.eventSubscriptions.url]\nendpoint = '{}?code=1'\n{}\
             [topics.orders.eventSubscriptions.attribute]\nendpoint = '{0}'\n{told}\
             [topics.orders.eventSubscriptions.neither]\nendpoint = '{0}'\n",
            sink(&world, address),
            if address == "hook" {
                String::new()
            } else {
                attribute("")
            },
        )
    };
    json(&run(&world, &file("hook"), &[]));
    let looks = async || {
        let log = world
            .own(Method::GET, "audit?limit=1000", Value::Null)
            .await;
        let rows = log["value"].as_array().unwrap().iter();
        let mut looks: Vec<String> = rows
            .filter(|row| row["action"].as_str().unwrap().contains("/get"))
            .map(|row| {
                let last = |field: &str, from: usize| {
                    let text = row[field].as_str().unwrap();
                    text.rsplit('/').nth(from).unwrap().to_owned()
                };
                format!("{} {}", last("scope", 0), last("action", 1))
            })
            .collect();
        looks.sort();
        looks
    };
    assert_eq!(looks().await, [""; 0]);
    let plan = json(&run(&world, &file("hook"), &["--dry-run"]));
    assert_eq!(plan["changed"], json!([]), "{plan}");
    assert_eq!(
        looks().await,
        ["attribute getDeliveryAttributes", "url getFullUrl"]
    );
    // Another address is another URL, whatever the secret in it.
    json(&run(&world, &file("elsewhere"), &["--dry-run"]));
    assert_eq!(looks().await.len(), 3);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_change_does_not_block_what_is_below_it() {
    let world = World::start().await;
    json(&run(&world, "[topics.orders]\n", &[]));
    let text = format!(
        "location = 'westeurope'\n[topics.orders]\ninboundIpRules = [{{ ipMask = 'nonsense' }}]\n\
         [topics.orders.eventSubscriptions.audit]\nendpoint = '{}'\n",
        sink(&world, "audit")
    );
    let report = report(&run(&world, &text, &[]));
    assert_eq!(
        report["created"],
        json!(["topics.orders.eventSubscriptions.audit"]),
        "{report}"
    );
    let failed = report["failed"].as_array().unwrap().iter();
    let failed: Vec<&Value> = failed.map(|one| &one["resource"]).collect();
    assert_eq!(failed, ["resourceGroup gridpost", "topics.orders"]);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_does_not_answer_is_asked_by_one_event_subscription() {
    let world = World::start().await;
    let mut silent = Silent::listen().await;
    let mut text = String::new();
    for one in 0..5 {
        text += &format!(
            "[topics.orders.eventSubscriptions.silent-{one}]\nendpoint = '{}/{one}'\n",
            silent.url()
        );
    }
    text += &format!(
        "[topics.orders.eventSubscriptions.good]\nendpoint = '{}'\n",
        sink(&world, "good")
    );
    let command = begin(&world, &text);
    let report = report(&silent.outlasted(&world, command).await);
    assert_eq!(
        report["created"],
        json!(["topics.orders", "topics.orders.eventSubscriptions.good"]),
        "{report}"
    );
    let failed = report["failed"].as_array().unwrap();
    let unasked = failed.iter().filter(|one| {
        let reason = one["reason"].as_str().unwrap();
        reason.contains("did not answer") && reason.contains("not asked again")
    });
    assert_eq!((failed.len(), unasked.count()), (5, 4), "{report}");
    assert_eq!(silent.held.len(), 2, "a handshake asks twice");
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_between_the_plan_and_the_change_is_not_overwritten() {
    let world = World::start().await;
    let mut silent = Silent::listen().await;
    let subscription = |name: &str, address: &str, prefix: &str| {
        format!(
            "[topics.orders.eventSubscriptions.{name}]\nendpoint = '{address}'\nsubjectBeginsWith = '{prefix}'\n"
        )
    };
    let endpoint = sink(&world, "all");
    json(&run(
        &world,
        &subscription("z-changed", &endpoint, "a"),
        &[],
    ));

    // They keep everything behind them waiting.
    let mut text: String = (0..16)
        .map(|one| subscription(&format!("a-{one:02}"), &silent.url(), "a"))
        .collect();
    text += &subscription("z-changed", &endpoint, "b");
    text += &subscription("z-made", &endpoint, "b");
    let command = begin(&world, &text);
    silent.asked().await;
    let theirs = |prefix: &str| json!({"filter": {"subjectBeginsWith": prefix}});
    let (changed, made) = (
        subscription_id(&topic(), "z-changed"),
        subscription_id(&topic(), "z-made"),
    );
    world
        .manage(Method::PATCH, &changed, theirs("theirs"))
        .await;
    let mut properties = theirs("theirs");
    properties["destination"] =
        json!({"endpointType": "WebHook", "properties": {"endpointUrl": endpoint}});
    world
        .manage(Method::PUT, &made, json!({"properties": properties}))
        .await;

    let report = report(&silent.outlasted(&world, command).await);
    let reasons: Vec<&str> = report["failed"].as_array().unwrap()[16..]
        .iter()
        .map(|one| one["reason"].as_str().unwrap())
        .collect();
    assert_eq!(
        reasons,
        [
            "it was changed meanwhile and is left so; apply again",
            "it was made meanwhile and is left so; apply again",
        ],
        "{report}"
    );
    for id in [changed, made] {
        let shown = world.manage(Method::GET, &id, Value::Null).await;
        assert_eq!(shown["properties"]["filter"]["subjectBeginsWith"], "theirs");
    }
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_topic_without_its_source_has_the_event_subscriptions_of_where_it_is() {
    let world = World::start().await;
    let endpoint = sink(&world, "texts");
    let elsewhere = "[resourceGroups.other.communicationServices.acs]\ndataLocation = 'Germany'\n";
    let below =
        format!("[systemTopics.system.eventSubscriptions.texts]\nendpoint = '{endpoint}'\n");
    let source = GROUP.replace("gridpost", "other")
        + "/providers/Microsoft.Communication/communicationServices/acs";
    json(&run(&world, elsewhere, &[]));
    let whole = format!(
        "[systemTopics.system]\nsource = '{source}'\ntopicType = 'Microsoft.Communication.CommunicationServices'\n{below}"
    );
    json(&run(&world, &whole, &[]));
    let again = json(&run(&world, &below, &[]));
    assert_eq!(
        (&again["created"], &again["changed"]),
        (&json!([]), &json!([])),
        "{again}"
    );
    let twice = format!(
        "{below}[resourceGroups.other.communicationServices.acs.eventSubscriptions.texts]\nendpoint = '{endpoint}'\n"
    );
    let refused = run(&world, &twice, &[]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("is the same resource as"), "{said}");
    world.settle().await;
}

#[test]
fn a_name_with_a_slash_is_no_path_to_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grid.toml");
    std::fs::write(&file, "[topics.t]\n[topics.'t/eventSubscriptions/s']\n").unwrap();
    let output = gridpost(folder.path(), &["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("grid.toml:2: ") && said.contains("no slash"),
        "{said}"
    );
}
