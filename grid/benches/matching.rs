//! What matching one event costs among 10,000 subscriptions of which one wants it, by the index and by asking each.
//!
//! The target is below 20 us by the index. Figures: docs/performance.md.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use gridpost_grid::matching::TopicIndex;
use gridpost_grid::subscriptions::SubscriptionSpec;
use gridpost_model::filter::{AdvancedFilter, Condition, TopicKind};
use gridpost_model::subscription::{DeliverySchema, EventSubscription, LaneId, ProvisioningState};
use gridpost_model::{Event, EventSchema, Filter, RetryPolicy, Timestamp};

const SUBSCRIPTIONS: u64 = 10_000;
const SMS: &str = "Microsoft.Communication.SMSReceived";

/// By what the 10,000 differ.
struct Case {
    name: &'static str,
    kind: TopicKind,
    filter: fn(u64) -> Filter,
    event_type: &'static str,
    subject: &'static str,
    json: &'static str,
}

/// An order of the size that orders have.
const ORDER: &str = r#"{"id":"1","topic":"/t","subject":"/orders/1","eventType":"Orders.Created","eventTime":"2026-11-22T00:00:00Z","dataVersion":"1","metadataVersion":"1","data":{"items":[{"sku":"a-1","count":2,"price":9.99},{"sku":"b-2","count":1,"price":24.5},{"sku":"c-3","count":5,"price":1.25}],"note":"Please leave it with the neighbours when nobody opens the door, and ring twice.","address":{"street":"Example Street 1","city":"Exampletown","country":"EX"},"customer":"Customer-4242","amount":42.5}}"#;

fn advanced(key: &str, condition: Condition) -> AdvancedFilter {
    AdvancedFilter {
        key: key.into(),
        condition,
    }
}

const CASES: &[Case] = &[
    Case {
        name: "prefix",
        kind: TopicKind::Communication,
        filter: |number| Filter {
            included_event_types: Some(vec![SMS.into()]),
            subject_begins_with: format!("phonenumber/1555{number:06}"),
            ..Filter::default()
        },
        event_type: SMS,
        subject: "/phonenumber/1555004242",
        json: "",
    },
    Case {
        name: "suffix",
        kind: TopicKind::Custom,
        filter: |number| Filter {
            subject_begins_with: "/orders/".into(),
            subject_ends_with: format!("/{number}.jpg"),
            ..Filter::default()
        },
        event_type: "Orders.Created",
        subject: "/orders/europe/4242.JPG",
        json: "",
    },
    Case {
        name: "prefix_and_suffix",
        kind: TopicKind::Custom,
        filter: |number| Filter {
            subject_begins_with: format!("/shop-{}/", number / 100),
            subject_ends_with: format!("/{}", number % 100),
            is_subject_case_sensitive: true,
            ..Filter::default()
        },
        event_type: "Orders.Created",
        subject: "/shop-42/order/42",
        json: "",
    },
    Case {
        name: "type",
        kind: TopicKind::Custom,
        filter: |number| Filter {
            included_event_types: Some(vec![format!("Orders.Kind{number}")]),
            ..Filter::default()
        },
        event_type: "orders.kind4242",
        subject: "/orders/1",
        json: "",
    },
    Case {
        name: "advanced",
        kind: TopicKind::Custom,
        filter: |number| Filter {
            subject_begins_with: "/orders/".into(),
            advanced: vec![
                advanced("data.amount", Condition::NumberGreaterThan(10.0)),
                advanced(
                    "data.customer",
                    Condition::StringIn(vec![format!("customer-{number}")]),
                ),
            ],
            ..Filter::default()
        },
        event_type: "Orders.Created",
        subject: "/orders/1",
        json: ORDER,
    },
    Case {
        name: "advanced_not_needed",
        kind: TopicKind::Custom,
        filter: |number| Filter {
            subject_begins_with: format!("/shop-{number}/"),
            advanced: match number {
                4242 => Vec::new(),
                _ => vec![advanced("data.amount", Condition::NumberLessThan(10.0))],
            },
            ..Filter::default()
        },
        event_type: "Orders.Created",
        subject: "/shop-4242/1",
        json: ORDER,
    },
];

fn subscriptions(case: &Case) -> Vec<Arc<EventSubscription>> {
    let one = |number| EventSubscription {
        name: format!("es{number}"),
        source: "/subscriptions/s/resourceGroups/rg/providers/p/t/dev"
            .parse()
            .expect("it is a resource id"),
        lane: LaneId(number),
        destination: SubscriptionSpec::to("https://example.com/").destination,
        filter: (case.filter)(number),
        labels: Vec::new(),
        expires: None,
        delivery_schema: DeliverySchema::EventGrid,
        retry_policy: RetryPolicy::default(),
        dead_letter: None,
        state: ProvisioningState::Succeeded,
        created: Timestamp::EPOCH,
        updated: Timestamp::EPOCH,
    };
    (0..SUBSCRIPTIONS)
        .map(|number| Arc::new(one(number)))
        .collect()
}

fn event(case: &Case) -> Event {
    Event {
        schema: EventSchema::EventGrid,
        id: "1".into(),
        topic: "/subscriptions/s/resourceGroups/rg/providers/p/t/dev".into(),
        event_type: case.event_type.into(),
        subject: case.subject.into(),
        data_version: "1.0".into(),
        published: Timestamp::EPOCH,
        trace: None,
        json: bytes::Bytes::from_static(case.json.as_bytes()),
    }
}

fn linear(kind: TopicKind, all: &[Arc<EventSubscription>], event: &Event) -> Vec<LaneId> {
    let wanted = all
        .iter()
        .filter(|one| one.filter.refusal(kind, event).is_none());
    wanted.map(|one| one.lane).collect()
}

fn matching(criterion: &mut Criterion) {
    for case in CASES {
        let all = subscriptions(case);
        let index = TopicIndex::new(case.kind, &all);
        let event = event(case);
        assert_eq!(
            index.matches(&event).as_slice(),
            [LaneId(4242)],
            "{}",
            case.name
        );
        assert_eq!(
            linear(case.kind, &all, &event),
            [LaneId(4242)],
            "{}",
            case.name
        );

        let mut group = criterion.benchmark_group(case.name);
        group.bench_function("index", |bencher| {
            bencher.iter(|| index.matches(black_box(&event)));
        });
        group.sample_size(20);
        group.bench_function("linear", |bencher| {
            bencher.iter(|| linear(case.kind, &all, black_box(&event)));
        });
        group.finish();
    }
}

fn building(criterion: &mut Criterion) {
    let all = subscriptions(&CASES[0]);
    criterion.bench_function("build", |bencher| {
        bencher.iter(|| TopicIndex::new(TopicKind::Communication, black_box(&all)));
    });
}

criterion_group!(benches, matching, building);
criterion_main!(benches);
