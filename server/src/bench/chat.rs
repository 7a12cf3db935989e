//! The cases of chat: sending with a user's token in a thread of two, and paging through a long thread.
//!
//! Promise: a page is timed over a connection that stands, from the request to its last byte, and before it is read.
//! Not here: what runs a closed loop (`load`, `measure`).

use anyhow::{Context as _, ensure};
use gridpost_model::Clock as _;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::cases::Bench;
use super::endpoint::Endpoint;
use super::load::{Body, Connection, Published, Target, Until, closed_loop};
use super::measure::{Delivered, row};
use super::report::{Better, Row};
use super::stopwatch;
use super::subject::{Kind, Subject, communication_id};
use crate::client::Client;
use crate::conversation::{Conversation, OF_A_MESSAGE, next_page};
use crate::real::SystemClock;
use crate::running::Running;

/// Requests in flight while messages are sent.
const SENDERS: usize = 32;

/// The length of the thread that is paged through.
const MESSAGES: u64 = 100_000;

/// Messages a page.
const PAGE: usize = 100;

/// Different pages at each end, and how often each is read.
const PAGES: usize = 10;
const TURNS: usize = 50;

impl Bench<'_> {
    pub(super) async fn chat(&mut self) -> anyhow::Result<()> {
        self.sending().await?;
        self.paging().await
    }

    /// Every message raises two events, and both are delivered in the meantime.
    async fn sending(&mut self) -> anyhow::Result<()> {
        let endpoint = Endpoint::start().await?;
        let (subject, target, _) = self.conversation().await?;
        let filter = json!({ "includedEventTypes": OF_A_MESSAGE });
        subject
            .subscribe_with(&communication_id(), "one", endpoint.address, &filter, 1)
            .await?;
        let copies = OF_A_MESSAGE.len() as u64;
        let row = self
            .saturate(
                "chat message",
                &subject,
                &target,
                &endpoint,
                SENDERS,
                copies,
            )
            .await?;
        let p99 = row.publish.p99_ms;
        self.keep(row);
        self.goal(
            "chat message p99, c=32",
            p99,
            5.0,
            None,
            "ms",
            Better::Lower,
        );
        Ok(())
    }

    /// Pages at both ends of a long thread, read in turn.
    async fn paging(&mut self) -> anyhow::Result<()> {
        let (subject, target, conversation) = self.conversation().await?;
        super::report_step("sending 100,000 messages to page through");
        let filled = closed_loop(&target, SENDERS, Until::Events(MESSAGES)).await;
        ensure!(filled.refused == 0, "sending to the thread was refused");

        super::report_step("paging through 100,000 messages");
        let mut connection = Connection::open(&target).await.context("a connection")?;
        let pages = full_pages(&mut connection, conversation.newest(PAGE)).await?;
        ensure!(
            MESSAGES as usize / PAGE <= pages.len(),
            "only {} pages of a hundred were found",
            pages.len()
        );
        let (newest, oldest) = (&pages[..PAGES], &pages[pages.len() - PAGES..]);
        let (mut at_newest, mut at_oldest) = (Published::none(), Published::none());
        let before = subject.usage()?;
        for _ in 0..TURNS {
            read(&mut connection, newest, &mut at_newest).await?;
            read(&mut connection, oldest, &mut at_oldest).await?;
        }
        let after = subject.usage()?;
        let as_row = |case: &str, seen: &Published| -> Row {
            Row {
                // Both ends were read in turn, so each has half of what the server used.
                cpu_us_per_event: (after.cpu - before.cpu).as_secs_f64() * 1e6
                    / (at_newest.accepted + at_oldest.accepted) as f64,
                ..row(case, 1, PAGE, seen, &Delivered::none(), before, after)
            }
        };
        let newest = as_row("page at the newest end of 100,000", &at_newest);
        let oldest = as_row("page at the oldest end of 100,000", &at_oldest);
        let ratio = oldest.publish.p50_ms / newest.publish.p50_ms;
        self.keep(newest);
        self.keep(oldest);
        self.goal(
            "page at the oldest end / at the newest, p50",
            ratio,
            2.0,
            Some(1.2),
            "",
            Better::Lower,
        );
        Ok(())
    }

    /// A server with a thread of two, and where to send to it.
    async fn conversation(&mut self) -> anyhow::Result<(Subject, Target, Conversation)> {
        let kind = self.gridpost();
        let subject = Subject::start(&kind).await?;
        let Kind::Gridpost { data } = kind else {
            anyhow::bail!("a relay does not chat");
        };
        let running = Running::find(&data).context("the server left no note")?;
        let client = Client::of(running, &data)?;
        let conversation = Conversation::begin(&client, SystemClock::default().now()).await?;
        let target = Target {
            address: subject.address,
            path: conversation.messages(),
            headers: vec![("authorization", format!("Bearer {}", conversation.token))],
            body: Body::ChatMessage,
        };
        Ok((subject, target, conversation))
    }
}

/// Follows the links from the newest to the oldest message: the paths of all pages that are full.
async fn full_pages(connection: &mut Connection, newest: String) -> anyhow::Result<Vec<String>> {
    let (mut pages, mut next) = (Vec::new(), Some(newest));
    while let Some(path) = next {
        let page: Value = serde_json::from_slice(&page(connection, &path).await?)?;
        next = next_page(&page);
        if page["value"].as_array().map(Vec::len) == Some(PAGE) {
            pages.push(path);
        }
    }
    Ok(pages)
}

async fn read(
    connection: &mut Connection,
    paths: &[String],
    seen: &mut Published,
) -> anyhow::Result<()> {
    for path in paths {
        let began = stopwatch::nanos();
        page(connection, path).await?;
        let took = stopwatch::since(began);
        seen.elapsed += took;
        seen.accepted += PAGE as u64;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        seen.latency.saturating_record(micros.max(1));
    }
    Ok(())
}

async fn page(connection: &mut Connection, path: &str) -> anyhow::Result<bytes::Bytes> {
    let answer = connection
        .exchange(Method::GET, path, bytes::Bytes::new())
        .await;
    let (status, body) = answer.context("the connection broke")?;
    ensure!(
        status == StatusCode::OK,
        "a page was answered with {status}"
    );
    Ok(body)
}
