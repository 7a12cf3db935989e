//! The cases of many: many subscriptions with advanced filters, many events a request.
//!
//! Not here: the main job's cases and what runs them (`cases`).

use serde_json::{Value, json};

use super::cases::Bench;
use super::load::{Until, closed_loop};
use super::measure::{Delivered, row};
use super::relay::Shape;
use super::report::{Better, Row};
use super::subject::topic_id;

impl Bench<'_> {
    /// The raw relay beside a hundred subscriptions whose filters look into the data; three match.
    pub(super) async fn filters(&mut self) -> anyhow::Result<()> {
        let raw = self.relay(Shape::Pooled, 64).await?;
        let (endpoint, subject, target) = self.measured(1).await?;
        for number in 0..100 {
            let filter = json!({ "advancedFilters": [advanced_filter(number)] });
            subject
                .subscribe_with(
                    &topic_id("measured"),
                    &format!("sub-{number}"),
                    endpoint.address,
                    &filter,
                    1,
                )
                .await?;
        }
        let row = self
            .saturate(
                "three of a hundred filters",
                &subject,
                &target,
                &endpoint,
                64,
                3,
            )
            .await?;
        let ratio = row.delivered_per_second / raw.delivered_per_second;
        self.keep(row);
        self.goal(
            "three of a hundred filters, deliveries / raw relay",
            ratio,
            0.70,
            Some(0.85),
            "",
            Better::Higher,
        );
        Ok(())
    }

    /// Accepted and matched, with the deliveries waiting, and then with the deliveries running.
    pub(super) async fn batch(&mut self) -> anyhow::Result<()> {
        let (endpoint, subject, target) = self.measured(100).await?;
        endpoint.withhold_code();
        subject
            .subscribe(&topic_id("measured"), "one", endpoint.address, "thread/")
            .await?;
        let before = subject.usage()?;
        let published = closed_loop(&target, 16, Until::Elapsed(self.args.span())).await;
        let row = row(
            "100 a request, deliveries waiting",
            16,
            100,
            &published,
            &Delivered::none(),
            before,
            subject.usage()?,
        );
        let rate = row.accepted_per_second;
        self.keep(row);
        self.goal(
            "100 a request, accepted and matched",
            rate,
            150_000.0,
            None,
            "/s",
            Better::Higher,
        );
        drop(subject);

        let (endpoint, subject, target) = self.measured(100).await?;
        subject
            .subscribe(&topic_id("measured"), "one", endpoint.address, "thread/")
            .await?;
        let row = self
            .saturate(
                "100 a request, delivered singly",
                &subject,
                &target,
                &endpoint,
                4,
                1,
            )
            .await?;
        self.keep(row);
        let single = self.end_to_end(64).await?.delivered_per_second;
        let row = self.batched().await?;
        let ratio = row.delivered_per_second / single;
        self.keep(row);
        self.goal(
            "100 a request in and out / one",
            ratio,
            5.0,
            None,
            "",
            Better::Higher,
        );
        Ok(())
    }

    async fn batched(&mut self) -> anyhow::Result<Row> {
        let (endpoint, subject, target) = self.measured(100).await?;
        subject
            .subscribe_with(
                &topic_id("measured"),
                "one",
                endpoint.address,
                &json!({}),
                100,
            )
            .await?;
        self.saturate(
            "100 a request, in and out",
            &subject,
            &target,
            &endpoint,
            16,
            1,
        )
        .await
    }
}

/// The filter of one of a hundred subscriptions. The first three match a measured event, each by another key.
fn advanced_filter(number: u32) -> Value {
    match (number, number % 3) {
        (0, _) => {
            json!({ "operatorType": "StringContains", "key": "subject", "values": ["/measured/"] })
        }
        (1, _) => {
            json!({ "operatorType": "StringBeginsWith", "key": "data.pad", "values": ["7f3a"] })
        }
        (2, _) => json!({ "operatorType": "IsNullOrUndefined", "key": "data.absent" }),
        (_, 0) => {
            json!({ "operatorType": "StringIn", "key": "data.kind", "values": [format!("kind-{number}")] })
        }
        (_, 1) => {
            json!({ "operatorType": "StringBeginsWith", "key": "data.pad", "values": [format!("pad-{number}")] })
        }
        _ => json!({ "operatorType": "NumberGreaterThan", "key": "data.size", "value": number }),
    }
}
