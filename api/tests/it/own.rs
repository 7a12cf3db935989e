//! Our own REST as its callers see it.

use std::future::Future as _;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use gridpost_api::Profile;
use gridpost_grid::subscriptions::{Source, SubscriptionSpec};
use gridpost_model::Filter;
use gridpost_model::filter::TopicKind;
use http::Request;
use serde_json::json;

use crate::stack::{HANDSET, NUMBER, Stack, own_request, resource_id};

fn inbound(message: &str) -> String {
    json!({"from": HANDSET, "to": NUMBER, "message": message}).to_string()
}

/// Serves the stack on a free port, so that the router's own deliveries reach its sinks.
async fn serve(stack: &Stack) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = stack.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/_gridpost/v1")
}

async fn subscribe(stack: &Stack, name: &str, endpoint: &str, prefix: &str) {
    let source = Source {
        id: resource_id("dev"),
        kind: TopicKind::Communication,
    };
    let filter = Filter {
        subject_begins_with: prefix.into(),
        ..Filter::default()
    };
    let spec = SubscriptionSpec {
        filter,
        ..SubscriptionSpec::to(endpoint)
    };
    stack
        .grid
        .put_event_subscription(&source, name, spec)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_text_that_arrives_is_delivered_to_a_sink() {
    let stack = Stack::start().await;
    let base = serve(&stack).await;
    subscribe(
        &stack,
        "texts",
        &format!("{base}/sinks/s"),
        "phonenumber/1555",
    )
    .await;

    let arrived = stack
        .own("POST", "sms/receive", &inbound("hello"))
        .await
        .json_of(202);
    let found = stack
        .own(
            "GET",
            "sinks/s/wait?eventType=Microsoft.Communication.SMSReceived",
            "",
        )
        .await
        .json_of(200);

    let request = &found["requests"][0];
    assert_eq!(request["headers"]["aeg-subscription-name"], "TEXTS");
    let event = &request["body"][0];
    assert_eq!(event["id"], arrived["messageId"]);
    assert_eq!(event["subject"], "/phonenumber/15555550100");
    assert_eq!(event["data"]["message"], "hello");
}

#[tokio::test]
async fn an_event_is_explained() {
    let stack = Stack::start().await;
    let base = serve(&stack).await;
    subscribe(
        &stack,
        "fits",
        &format!("{base}/sinks/s"),
        "phonenumber/1555",
    )
    .await;
    subscribe(
        &stack,
        "other",
        &format!("{base}/sinks/t"),
        "phonenumber/1666",
    )
    .await;
    let arrived = stack
        .own("POST", "sms/receive", &inbound("hello"))
        .await
        .json_of(202);
    stack.own("GET", "sinks/s/wait", "").await.json_of(200);
    stack.settle().await;

    let id = arrived["messageId"].as_str().unwrap();
    let explained = stack
        .own("GET", &format!("events/{id}/explain"), "")
        .await
        .json_of(200);
    let [fits, other] = &explained["value"][0]["subscriptions"].as_array().unwrap()[..] else {
        panic!("{explained}");
    };
    assert_eq!(
        (&fits["name"], &fits["fate"]),
        (&json!("fits"), &json!("delivered"))
    );
    assert_eq!(fits["attempts"][0]["status"], 200);
    assert_eq!(other["fate"], "refused");
    assert_eq!(
        other["refusal"],
        json!({"clause": "subjectBeginsWith", "wanted": "phonenumber/1666", "found": "/phonenumber/15555550100"})
    );
    let unknown = stack.own("GET", "events/unknown/explain", "").await;
    assert_eq!(unknown.json_of(404)["error"]["code"], "NotFound");
}

#[tokio::test]
async fn an_event_is_explained_whatever_stands_in_its_id() {
    let stack = Stack::start().await;
    for (sent, id) in [
        ("a%2Fb%20c", "a/b c"),
        ("%2F%2Fa%2F", "//a/"),
        ("wait", "wait"),
        ("%E2%82%AC%3F%23%25", "€?#%"),
    ] {
        let unknown = stack
            .own("GET", &format!("events/{sent}/explain"), "")
            .await
            .json_of(404);
        let message = unknown["error"]["message"].as_str().unwrap();
        let told = format!("No event with the id '{id}' is kept.");
        assert!(message.starts_with(&told), "{message}");
    }
    let empty = stack.own("GET", "events//explain", "").await.json_of(400);
    let message = empty["error"]["message"].as_str().unwrap();
    assert!(message.contains("it is empty"), "{message}");
    let other = stack
        .own("GET", "events/1/explained", "")
        .await
        .json_of(404);
    let message = other["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("There is nothing at"), "{message}");
}

#[tokio::test]
async fn a_filter_is_tried_on_events_that_are_kept() {
    let stack = Stack::start().await;
    for text in ["hello", "goodbye"] {
        let body = inbound(text);
        stack.own("POST", "sms/receive", &body).await.json_of(202);
    }
    stack.settle().await;
    let asked = |filter: serde_json::Value| {
        json!({"source": resource_id("dev"), "filter": filter}).to_string()
    };
    let contains =
        json!({"operatorType": "StringContains", "key": "data.message", "values": ["HELL"]});
    let tried = stack
        .own(
            "POST",
            "filters/try",
            &asked(json!({"advancedFilters": [contains]})),
        )
        .await
        .json_of(200);
    let [newest, oldest] = &tried["value"].as_array().unwrap()[..] else {
        panic!("{tried}");
    };
    assert_eq!((&tried["tried"], &tried["matched"]), (&json!(2), &json!(1)));
    assert_eq!(
        (&newest["matched"], &oldest["matched"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        newest["refusal"],
        json!({
            "clause": "advancedFilters", "index": 0, "operatorType": "StringContains", "key": "data.message",
            "wanted": ["HELL"], "found": "goodbye", "why": "value",
        })
    );
    assert_eq!(
        newest["because"],
        r#"advancedFilters[0]: StringContains ["HELL"] does not take 'data.message', which is "goodbye"."#
    );

    let wrong = json!({"advancedFilters": [{"operatorType": "NumberInRange", "key": "data.n", "values": [[2, 1]]}]});
    for (body, status) in [
        (asked(json!({"advancedFilters": [{"operatorType": "Like"}]})), 400),
        (asked(wrong), 400),
        (json!({"source": resource_id("dev"), "filter": {}, "last": 0}).to_string(), 400),
        (json!({"source": "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/none", "filter": {}}).to_string(), 404),
    ] {
        stack.own("POST", "filters/try", &body).await.json_of(status);
    }
}

#[tokio::test]
async fn a_dead_letter_is_listed_and_brought_back() {
    let stack = Stack::start().await;
    let base = serve(&stack).await;
    subscribe(&stack, "texts", &format!("{base}/sinks/s"), "").await;
    stack
        .own("PUT", "sinks/s/behaviour", r#"{"status":400,"times":1}"#)
        .await
        .json_of(200);
    let arrived = stack
        .own("POST", "sms/receive", &inbound("hello"))
        .await
        .json_of(202);
    stack.own("GET", "sinks/s/wait", "").await.json_of(200);
    stack.settle().await;

    let listed = stack
        .own("GET", "dead-letters?subscription=TEXTS", "")
        .await
        .json_of(200);
    let letter = &listed["value"][0];
    assert_eq!(letter["event"]["id"], arrived["messageId"]);
    assert_eq!(
        letter["deadLetterReason"],
        "UndeliverableDueToHttpBadRequest"
    );
    assert_eq!(
        (&letter["deliveryAttempts"], &letter["lastHttpStatus"]),
        (&json!(1), &json!(400))
    );

    // What nothing is called is misspelt.
    for unknown in ["subscription=text", "reason=TimeToLive"] {
        let path = format!("dead-letters?{unknown}");
        stack.own("GET", &path, "").await.json_of(400);
        stack.own("DELETE", &path, "").await.json_of(400);
    }
    let misspelt = r#"{"subscription":"text"}"#;
    let redriven = stack.own("POST", "dead-letters:redrive", misspelt).await;
    redriven.json_of(400);
    // That all are meant has to be said, and nothing else with it.
    for unclear in [
        "dead-letters",
        "dead-letters?all=true&eventId=1",
        "dead-letters?limit=1",
    ] {
        stack.own("DELETE", unclear, "").await.json_of(400);
    }
    let other = stack.own("DELETE", "dead-letters?eventId=other", "").await;
    assert_eq!(other.json_of(200), json!({"deleted": 0}));
    let none = stack
        .own("POST", "dead-letters:redrive", r#"{"eventId":"other"}"#)
        .await;
    assert_eq!(none.json_of(200), json!({"redriven": 0}));
    let body = json!({"ids": [letter["id"]]}).to_string();
    let redriven = stack.own("POST", "dead-letters:redrive", &body).await;
    assert_eq!(redriven.json_of(200), json!({"redriven": 1}));
    let found = stack
        .own("GET", "sinks/s/wait?count=2", "")
        .await
        .json_of(200);
    assert_eq!(found["requests"][1]["body"][0]["id"], arrived["messageId"]);
    stack.settle().await;
    let listed = stack.own("GET", "dead-letters", "").await.json_of(200);
    assert_eq!(listed, json!({"value": []}));
    let all = stack.own("DELETE", "dead-letters?all=true", "").await;
    assert_eq!(all.json_of(200), json!({"deleted": 0}));
}

#[tokio::test]
async fn a_wait_for_an_event_ends_when_it_is_accepted() {
    let stack = Stack::start().await;
    let mut waiting = pin!(stack.own("GET", "events/wait?subject=phonenumber/1555", ""));
    let is_pending =
        std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending()));
    assert!(is_pending.await);
    let arrived = stack
        .own("POST", "sms/receive", &inbound("hello"))
        .await
        .json_of(202);
    let found = waiting.await.json_of(200);
    assert_eq!(found["what"], "accepted");
    assert_eq!(found["id"], arrived["messageId"]);
    assert_eq!(found["event"]["data"]["message"], "hello");
}

#[tokio::test]
async fn the_stream_of_events_is_server_sent() {
    let stack = Stack::start().await;
    let request = own_request("GET", "events?what=accepted", "");
    let response = tower::ServiceExt::oneshot(stack.router.clone(), request)
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    stack
        .own("POST", "sms/receive", &inbound("hello"))
        .await
        .json_of(202);
    let mut body = response.into_body();
    let frame = http_body_util::BodyExt::frame(&mut body)
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    assert!(text.starts_with("event: accepted\ndata: {"), "{text}");
}

#[tokio::test]
async fn numbers_are_given_and_taken() {
    let stack = Stack::start().await;
    let other = stack.make("other").await;
    let to_other = json!({"resource": other.id.as_str()}).to_string();
    let new = "numbers/+15555550111";
    assert_eq!(
        stack.own("PUT", new, "").await.json_of(400)["error"]["code"],
        "BadRequest"
    );
    let given = stack.own("PUT", new, &to_other).await.json_of(201);
    assert_eq!(
        given,
        json!({"number": "+15555550111", "resource": other.id.as_str(), "since": "2026-11-22T00:27:55Z"})
    );
    assert_eq!(stack.own("PUT", new, &to_other).await.status, 200);
    assert_eq!(stack.own("GET", new, "").await.json_of(200), given);
    let taken = stack
        .own("PUT", &format!("numbers/{NUMBER}"), &to_other)
        .await;
    assert_eq!(taken.json_of(409)["error"]["code"], "Conflict");
    let all = stack.own("GET", "numbers", "").await.json_of(200);
    assert_eq!(all["value"].as_array().unwrap().len(), 2);
    assert_eq!(stack.own("DELETE", new, "").await.status, 204);
    assert_eq!(stack.own("DELETE", new, "").await.status, 404);
    assert_eq!(stack.own("GET", "numbers/12x", "").await.status, 400);
}

#[tokio::test]
async fn a_text_to_nobodys_number_is_refused() {
    let stack = Stack::start().await;
    let body = json!({"from": HANDSET, "to": "+15555550199", "message": "x"}).to_string();
    let answer = stack.own("POST", "sms/receive", &body).await;
    assert_eq!(answer.json_of(404)["error"]["code"], "NotFound");
    let answer = stack.own("POST", "sms/receive", r#"{"from":"x"}"#).await;
    assert_eq!(answer.json_of(400)["error"]["code"], "BadRequest");
}

#[tokio::test]
async fn a_handset_answers_by_its_script() {
    let stack = Stack::start().await;
    let script = json!({"rules": [{"contains": "OK?", "reply": "yes", "afterMs": 500}]});
    let path = format!("handsets/{HANDSET}/script");
    let told = stack.own("PUT", &path, &script.to_string()).await;
    assert_eq!(told.json_of(200), script);
    assert_eq!(stack.own("GET", &path, "").await.json_of(200), script);

    let base = serve(&stack).await;
    subscribe(&stack, "texts", &format!("{base}/sinks/s"), "").await;
    let body = json!({"from": NUMBER, "smsRecipients": [{"to": HANDSET}], "message": "all ok?"});
    stack
        .signed("POST", "/sms?api-version=2021-03-07", &body.to_string())
        .await
        .json_of(202);
    stack.advance(Duration::from_secs(1)).await;

    let found = stack.own("GET", "sinks/s/wait", "").await.json_of(200);
    let data = &found["requests"][0]["body"][0]["data"];
    assert_eq!(data["message"], "yes");
    assert_eq!(stack.own("DELETE", &path, "").await.status, 204);
    assert_eq!(
        stack.own("GET", &path, "").await.json_of(200),
        json!({"rules": []})
    );
}

#[tokio::test]
async fn info_tells_what_there_is_and_no_keys() {
    let stack = Stack::start().await;
    let answer = stack.own("GET", "info", "").await;
    let info = answer.json_of(200);
    assert_eq!(info["profile"], "development");
    assert_eq!(info["communicationServices"][0]["numbers"], json!([NUMBER]));
    assert!(!answer.text.contains(stack.dev().keys.first.reveal()));
}

#[tokio::test]
async fn foreign_callers_are_refused_in_development() {
    let stack = Stack::start().await;
    let ask = async |host: &str, origin: Option<&str>, token: Option<&str>| {
        let mut request = Request::get("/_gridpost/v1/info").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        stack.ask(request.body(Body::empty()).unwrap()).await.status
    };
    let token = stack.token().await;
    assert_eq!(
        ask("localhost:8480", Some("http://localhost:3000"), None).await,
        200
    );
    assert_eq!(ask("gridpost-box:8480", None, None).await, 200);
    assert_eq!(ask("rebound.example", None, None).await, 403);
    assert_eq!(ask("rebound.example", None, Some(&token)).await, 200);
    assert_eq!(
        ask("localhost:8480", Some("https://page.example"), None).await,
        403
    );
    assert_eq!(ask("localhost:8480", Some("null"), None).await, 403);
}

#[tokio::test]
async fn production_asks_for_a_token() {
    let stack = Stack::start_as(Profile::Production).await;
    let refused = stack.own("GET", "info", "").await;
    assert_eq!(refused.json_of(401)["error"]["code"], "Unauthorized");
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    let token = stack.token().await;
    let mut request = own_request("GET", "info", "");
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    assert_eq!(stack.ask(request).await.status, 200);
}

#[tokio::test]
async fn neither_time_nor_deliveries_are_meddled_with_in_production() {
    let stack = Stack::start_as(Profile::Production).await;
    let token = stack.token().await;
    for (method, path, body) in [
        ("POST", "clock/advance", r#"{"by":"PT1H"}"#),
        ("PUT", "faults/one", r#"{"fault":"hang"}"#),
    ] {
        let mut request = own_request(method, path, body);
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        let refused = stack.ask(request).await.json_of(403);
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("development profile only"), "{message}");
    }
}

#[tokio::test]
async fn a_clock_that_cannot_be_moved_says_so() {
    let stack = Stack::start().await;
    let shown = stack.own("GET", "clock", "").await.json_of(200);
    assert_eq!(shown["movable"], false);
    let refused = stack.own("POST", "clock/advance", r#"{"by":1}"#).await;
    assert_eq!(refused.json_of(501)["error"]["code"], "NotSupported");
}

#[tokio::test]
async fn what_does_not_exist_is_refused_in_our_own_shape() {
    let stack = Stack::start().await;
    let nowhere = stack.own("GET", "nowhere", "").await;
    assert_eq!(nowhere.json_of(404)["error"]["code"], "NotFound");
    let wrong = stack.own("PATCH", "numbers", "").await;
    assert_eq!(wrong.json_of(405)["error"]["code"], "MethodNotAllowed");
}

#[tokio::test]
async fn a_surface_that_is_not_there_yet_says_so_in_its_own_shape() {
    let stack = Stack::start().await;
    for (method, path, word) in [
        ("POST", "/rooms?api-version=2025-03-13", "rooms"),
        ("GET", "/sip?api-version=2023-03-01", "sip"),
        ("POST", "/emails:send?api-version=2025-09-01", "emails"),
        ("PATCH", "/routing/jobs/1?api-version=2023-11-01", "routing"),
        ("GET", "/calling/callConnections/1", "calling"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:8480")
            .header("x-ms-client-request-id", "7")
            .header("x-ms-return-client-request-id", "true")
            .body(Body::empty())
            .unwrap();
        let answer = stack.ask(request).await;
        let error = &answer.json_of(501)["error"];
        assert_eq!(error["code"], "NotSupported", "{path}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("'/{word}' is not supported yet")),
            "{message}"
        );
        assert_eq!(answer.headers["x-ms-client-request-id"], "7");
    }
}

#[tokio::test]
async fn who_listens_or_waits_is_let_go_when_the_server_closes() {
    let stack = Stack::start().await;
    let request = own_request("GET", "events", "");
    let stream = tower::ServiceExt::oneshot(stack.router.clone(), request);
    let body = stream.await.unwrap().into_body();
    stack.closing.begin();
    let rest = http_body_util::BodyExt::collect(body).await.unwrap();
    assert_eq!(rest.to_bytes().len(), 0);
    for path in ["events/wait", "sinks/s/wait"] {
        let answer = stack.own("GET", path, "").await;
        assert_eq!(answer.json_of(503)["error"]["code"], "Closing");
    }
}

#[tokio::test]
async fn events_are_replayed_to_a_subscription_and_the_replay_is_shown() {
    let stack = Stack::start().await;
    let base = serve(&stack).await;
    subscribe(&stack, "first", &format!("{base}/sinks/a"), "").await;
    for message in ["one", "two"] {
        stack.own("POST", "sms/receive", &inbound(message)).await;
    }
    stack.settle().await;
    subscribe(&stack, "late", &format!("{base}/sinks/b"), "").await;

    let ask = |more: serde_json::Value| {
        let mut body = json!({"subscription": "late"});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        body.to_string()
    };
    let dry = stack
        .own("POST", "replays", &ask(json!({"dryRun": true, "rate": 1})))
        .await
        .json_of(200);
    assert_eq!((&dry["events"], &dry["seconds"]), (&json!(2), &json!(2)));
    let wanted = json!({"filter": {"advancedFilters": [
        {"operatorType": "StringContains", "key": "data.message", "values": ["tw"]},
    ]}});
    let accepted = stack.own("POST", "replays", &ask(wanted.clone())).await;
    let replay = accepted.json_of(202);
    let id = replay["id"].as_str().unwrap().to_owned();
    assert_eq!(
        accepted.headers["location"],
        format!("/_gridpost/v1/replays/{id}")
    );
    let found = stack.own("GET", "sinks/b/wait", "").await.json_of(200);
    let request = &found["requests"][0];
    assert_eq!(request["headers"]["gridpost-replay"], id);
    assert_eq!(request["body"][0]["data"]["message"], "two");
    stack.settle().await;

    let path = format!("replays/{id}");
    let shown = stack.own("GET", &path, "").await.json_of(200);
    assert_eq!(
        (&shown["state"], &shown["handedOver"], &shown["progress"]),
        (&json!("done"), &json!(1), &json!(1.0))
    );
    let listed = stack.own("GET", "replays", "").await.json_of(200);
    assert_eq!(listed["value"], json!([shown]));
    assert_eq!(stack.own("DELETE", &path, "").await.status, 204);
    assert_eq!(stack.own("GET", &path, "").await.status, 404);
}

#[tokio::test]
async fn a_replay_that_cannot_be_is_refused_with_the_reason() {
    let stack = Stack::start().await;
    let base = serve(&stack).await;
    subscribe(&stack, "texts", &format!("{base}/sinks/s"), "").await;
    let ask = async |body: serde_json::Value| {
        let answer = stack.own("POST", "replays", &body.to_string()).await;
        let message = answer.json()["error"]["message"].to_string();
        (answer.status.as_u16(), message)
    };
    let (status, message) = ask(json!({"subscription": "other"})).await;
    assert_eq!((status, message.contains("'other'")), (404, true));
    let (status, _) = ask(json!({"subscription": "texts", "eventId": "x"})).await;
    assert_eq!(status, 404);
    let (status, message) = ask(json!({"subscription": "texts", "rate": 0})).await;
    assert_eq!((status, message.contains("rate")), (400, true));
    let filter = json!({"advancedFilters": [{"operatorType": "Nonsense", "key": "x"}]});
    let (status, message) = ask(json!({"subscription": "texts", "filter": filter})).await;
    assert_eq!((status, message.contains("advancedFilters")), (400, true));
    assert_eq!(stack.own("DELETE", "replays/zz", "").await.status, 404);
}
