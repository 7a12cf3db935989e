//! The cases of a run and the goals they are held against.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::endpoint::{Answer, Endpoint};
use super::load::{Body, Target, Until, closed_loop};
use super::measure::median;
use super::relay::Shape;
use super::report::{Better, Goal, Machine, Report, Row};
use super::subject::{Kind, Subject, communication_id, topic_id};
use super::{Args, stopwatch};

/// Cases that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Group {
    /// Raw relay and Gridpost in turn, at concurrency 1, 16, 64 and 256.
    Throughput,
    /// Inbound texts, end to end.
    Texts,
    /// Chat: sending in a thread of two, and paging through 100,000 messages.
    Chat,
    /// One event to ten subscriptions.
    FanOut,
    /// Paced load: latency.
    Latency,
    /// A hundred subscriptions with advanced filters, of which three match.
    Filters,
    /// A hundred events a request, in and out.
    Batch,
    /// With 100,000 events waiting in retry.
    Retry,
    /// One dead endpoint among ten.
    DeadEndpoint,
    /// Memory, start and restart.
    Footprint,
}

/// How long nothing may arrive before a measurement gives up waiting.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Runs every wanted group.
pub(super) async fn run(args: &Args) -> anyhow::Result<Report> {
    let mut bench = Bench::new(args)?;
    // The one that waits longest comes last.
    let groups = [
        Group::Footprint,
        Group::Throughput,
        Group::Texts,
        Group::Chat,
        Group::FanOut,
        Group::Latency,
        Group::Filters,
        Group::Batch,
        Group::DeadEndpoint,
        Group::Retry,
    ];
    for group in groups.into_iter().filter(|group| args.wants(*group)) {
        if let Err(error) = bench.measure(group).await {
            bench.report.failures.push(format!("{group:?}: {error:#}"));
        }
    }
    Ok(std::mem::take(&mut bench.report))
}

pub(super) struct Bench<'a> {
    pub(super) args: &'a Args,
    folder: PathBuf,
    folders: u32,
    report: Report,
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        // A folder left behind is only a nuisance.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args) -> anyhow::Result<Self> {
        let base = args.folder.clone().unwrap_or_else(std::env::temp_dir);
        let folder = base.join(format!("gridpost-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).context("making a folder for the measurement")?;
        let kernel = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let machine = Machine {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: format!("Linux {kernel}"),
            version: env!("CARGO_PKG_VERSION"),
        };
        let report = Report {
            machine,
            ..Report::default()
        };
        Ok(Self {
            args,
            folder,
            folders: 0,
            report,
        })
    }

    pub(super) fn gridpost(&mut self) -> Kind {
        self.folders += 1;
        Kind::Gridpost {
            data: self.folder.join(self.folders.to_string()),
        }
    }

    async fn measure(&mut self, group: Group) -> anyhow::Result<()> {
        match group {
            Group::Throughput => self.throughput().await,
            Group::Texts => self.texts().await,
            Group::Chat => self.chat().await,
            Group::FanOut => self.fan_out().await,
            Group::Latency => self.latency().await,
            Group::Filters => self.filters().await,
            Group::Batch => self.batch().await,
            Group::Retry => self.retry().await,
            Group::DeadEndpoint => self.dead_endpoint().await,
            Group::Footprint => self.footprint().await,
        }
    }

    /// Ratios to the raw relay at each concurrency, measured in turn.
    async fn throughput(&mut self) -> anyhow::Result<()> {
        for concurrency in [1, 16, 64, 256] {
            let rounds = if concurrency == 64 {
                self.args.rounds
            } else {
                1
            };
            let (mut raw, mut lean, mut whole) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                raw.push(self.relay(Shape::Pooled, concurrency).await?);
                lean.push(self.relay(Shape::Lean, concurrency).await?);
                whole.push(self.end_to_end(concurrency).await?);
            }
            let (raw, whole) = (median(raw), median(whole));
            let ratio = whole.delivered_per_second / raw.delivered_per_second;
            self.keep(raw);
            self.keep(median(lean));
            self.keep(whole);
            if concurrency == 64 {
                self.goal(
                    "end to end / raw relay, c=64",
                    ratio,
                    0.70,
                    Some(0.85),
                    "",
                    Better::Higher,
                );
            }
        }
        Ok(())
    }

    pub(super) async fn relay(&self, shape: Shape, concurrency: usize) -> anyhow::Result<Row> {
        let endpoint = Endpoint::start().await?;
        let subject = Subject::start(&Kind::Relay {
            endpoint: endpoint.address,
            shape,
        })
        .await?;
        let target = Target {
            address: subject.address,
            path: "/relay".to_owned(),
            headers: Vec::new(),
            body: Body::Events { batch: 1 },
        };
        let case = match shape {
            Shape::Pooled => "raw relay",
            Shape::Lean => "lean relay",
        };
        self.saturate(case, &subject, &target, &endpoint, concurrency, 1)
            .await
    }

    /// An endpoint, and a server of ours with a topic that is sent so many events a request.
    pub(super) async fn measured(
        &mut self,
        batch: usize,
    ) -> anyhow::Result<(Endpoint, Subject, Target)> {
        let endpoint = Endpoint::start().await?;
        let subject = Subject::start(&self.gridpost()).await?;
        let target = subject.topic("measured", batch).await?;
        Ok((endpoint, subject, target))
    }

    pub(super) async fn end_to_end(&mut self, concurrency: usize) -> anyhow::Result<Row> {
        let (endpoint, subject, target) = self.measured(1).await?;
        subject
            .subscribe(&topic_id("measured"), "one", endpoint.address, "thread/")
            .await?;
        self.saturate("gridpost", &subject, &target, &endpoint, concurrency, 1)
            .await
    }

    async fn texts(&mut self) -> anyhow::Result<()> {
        let endpoint = Endpoint::start().await?;
        let subject = Subject::start(&self.gridpost()).await?;
        let target = subject.inbound_texts();
        subject
            .subscribe(
                &communication_id(),
                "one",
                endpoint.address,
                "phonenumber/1555",
            )
            .await?;
        let row = self
            .saturate("inbound text", &subject, &target, &endpoint, 64, 1)
            .await?;
        self.keep(row);
        Ok(())
    }

    async fn fan_out(&mut self) -> anyhow::Result<()> {
        let (endpoint, subject, target) = self.measured(1).await?;
        for number in 0..10 {
            let name = format!("sub-{number}");
            subject
                .subscribe(&topic_id("measured"), &name, endpoint.address, "")
                .await?;
        }
        let row = self
            .saturate("one to ten", &subject, &target, &endpoint, 64, 10)
            .await?;
        let rate = row.delivered_per_second;
        self.keep(row);
        self.goal(
            "one to ten, deliveries",
            rate,
            27_000.0,
            Some(54_000.0),
            "/s",
            Better::Higher,
        );
        Ok(())
    }

    /// At 200 events/s, and at half of what saturates it.
    async fn latency(&mut self) -> anyhow::Result<()> {
        let (endpoint, subject, target) = self.measured(1).await?;
        subject
            .subscribe(&topic_id("measured"), "one", endpoint.address, "")
            .await?;
        let span = self.args.span().max(Duration::from_secs(5));
        let slow = self
            .pace("paced 200/s", &subject, &target, &endpoint, 200.0, span)
            .await?;
        let p99 = slow.delivery.p99_ms;
        self.keep(slow);
        self.goal(
            "publish to webhook p99 at 200/s",
            p99,
            3.0,
            Some(1.5),
            "ms",
            Better::Lower,
        );
        let full = self
            .saturate("saturated", &subject, &target, &endpoint, 64, 1)
            .await?;
        let half = full.delivered_per_second / 2.0;
        let row = self
            .pace(
                "half of saturation",
                &subject,
                &target,
                &endpoint,
                half,
                span,
            )
            .await?;
        let p99 = row.publish.p99_ms;
        self.keep(row);
        self.goal(
            "publish p99 at half of saturation",
            p99,
            5.0,
            Some(2.0),
            "ms",
            Better::Lower,
        );
        Ok(())
    }

    /// Ten endpoints, with and without one that never answers and has 100,000 events waiting.
    async fn dead_endpoint(&mut self) -> anyhow::Result<()> {
        let (mut alive, mut with_dead) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            alive.push(self.nine_of_ten(false).await?);
            with_dead.push(self.nine_of_ten(true).await?);
        }
        let (alive, with_dead) = (median(alive), median(with_dead));
        let rate = with_dead.delivered_per_second / alive.delivered_per_second;
        let tail = with_dead.delivery.p99_ms / alive.delivery.p99_ms;
        self.keep(alive);
        self.keep(with_dead);
        self.goal(
            "nine beside a dead endpoint, rate",
            rate,
            0.95,
            Some(0.99),
            "",
            Better::Higher,
        );
        self.goal(
            "nine beside a dead endpoint, p99",
            tail,
            1.25,
            None,
            "",
            Better::Lower,
        );
        Ok(())
    }

    async fn nine_of_ten(&mut self, with_dead: bool) -> anyhow::Result<Row> {
        let (endpoint, subject, target) = self.measured(1).await?;
        let dead = Endpoint::start().await?;
        let source = topic_id("measured");
        if with_dead {
            subject.subscribe(&source, "dead", dead.address, "").await?;
            dead.answer(Answer::Hang);
            let fill = Target {
                body: Body::Events { batch: 100 },
                ..target.clone()
            };
            let filled = closed_loop(&fill, 4, Until::Events(100_000)).await;
            ensure!(
                filled.refused == 0,
                "publishing for the dead endpoint was refused"
            );
        }
        for number in 0..9 {
            subject
                .subscribe(&source, &format!("sub-{number}"), endpoint.address, "")
                .await?;
        }
        let case = if with_dead {
            "nine endpoints, a tenth dead"
        } else {
            "nine endpoints"
        };
        self.saturate(case, &subject, &target, &endpoint, 16, 9)
            .await
    }

    /// The same load with and without 100,000 events that wait for their next attempt.
    async fn retry(&mut self) -> anyhow::Result<()> {
        let (endpoint, subject, target) = self.measured(1).await?;
        let failing = Endpoint::start().await?;
        subject
            .subscribe(&topic_id("measured"), "one", endpoint.address, "")
            .await?;
        let fill = subject.topic("waiting", 100).await?;
        subject
            .subscribe(&topic_id("waiting"), "failing", failing.address, "")
            .await?;
        failing.answer(Answer::FailMost);
        let without = self
            .saturate("none in retry", &subject, &target, &endpoint, 64, 1)
            .await?;
        // One in six arrives at each attempt, so that many are left after the attempts at 0, 10, 30 and 60 s. The
        // next one is at minute five.
        closed_loop(&fill, 4, Until::Events(300_000)).await;
        super::report_step("letting 100,000 events fail until their next attempt is minutes away");
        stopwatch::pause(Duration::from_secs(85)).await;
        let waiting = subject.waiting().await?;
        ensure!(
            waiting >= 100_000,
            "only {waiting} events wait for their next attempt"
        );
        let with = self
            .saturate("100,000 in retry", &subject, &target, &endpoint, 64, 1)
            .await?;
        let again = self
            .saturate("100,000 in retry", &subject, &target, &endpoint, 64, 1)
            .await?;
        let with = median(vec![with, again]);
        let ratio = with.delivered_per_second / without.delivered_per_second;
        self.keep(without);
        self.keep(with);
        self.goal(
            "rate with 100,000 in retry / without",
            ratio,
            0.9,
            Some(0.98),
            "",
            Better::Higher,
        );
        Ok(())
    }

    /// Cold start, idle memory, a million pending events, and the restart with them after SIGKILL.
    async fn footprint(&mut self) -> anyhow::Result<()> {
        let kind = self.gridpost();
        let mut starts = Vec::new();
        for _ in 0..5 {
            let subject = Subject::start(&self.gridpost()).await?;
            starts.push(subject.started_in.as_secs_f64() * 1_000.0);
        }
        starts.sort_by(f64::total_cmp);
        self.goal(
            "cold start to ready, empty store",
            starts[2],
            100.0,
            None,
            "ms",
            Better::Lower,
        );

        let endpoint = Endpoint::start().await?;
        endpoint.withhold_code();
        let subject = Subject::start(&kind).await?;
        stopwatch::pause(Duration::from_secs(2)).await;
        let idle = subject.usage()?.resident_bytes as f64 / 1e6;
        self.goal("idle memory", idle, 40.0, Some(20.0), "MB", Better::Lower);

        let target = subject.topic("measured", 100).await?;
        let hanging = Endpoint::start().await?;
        subject
            .subscribe(&topic_id("measured"), "one", hanging.address, "")
            .await?;
        hanging.answer(Answer::Hang);
        super::report_step("publishing a million events for an endpoint that never answers");
        let filled = closed_loop(&target, 8, Until::Events(1_000_000)).await;
        ensure!(
            filled.refused == 0,
            "publishing a million events was refused"
        );
        let pending = subject.usage()?.peak_bytes as f64 / 1e6;
        self.goal(
            "memory with one million pending",
            pending,
            256.0,
            Some(100.0),
            "MB",
            Better::Lower,
        );
        subject.kill()?;

        hanging.reset();
        hanging.answer(Answer::Accept);
        let began = stopwatch::nanos();
        let subject = Subject::start(&kind).await?;
        ensure!(
            hanging.received(1, PATIENCE).await,
            "nothing was delivered after the restart"
        );
        let first = (hanging.first() - began) as f64 / 1e9;
        self.goal(
            "restart with one million pending, first delivery",
            first,
            2.0,
            Some(1.0),
            "s",
            Better::Lower,
        );
        ensure!(
            hanging.received(1_000_000, PATIENCE).await,
            "after the restart only {} of a million were delivered",
            hanging.events()
        );
        drop(subject);
        Ok(())
    }

    pub(super) fn keep(&mut self, row: Row) {
        self.report.rows.push(row);
    }

    pub(super) fn goal(
        &mut self,
        name: &str,
        measured: f64,
        floor: f64,
        aim: Option<f64>,
        unit: &'static str,
        better: Better,
    ) {
        let name = name.to_owned();
        self.report.goals.push(Goal {
            name,
            measured,
            floor,
            aim,
            unit,
            better,
        });
    }
}
