//! `gridpost events try-filter`: what a filter would have done with the newest events, before it is saved.

use std::path::{Path, PathBuf};

use gridpost_model::ResourceId;
use http::Method;
use serde_json::{Value, json};

use super::render;
use crate::client::Client;
use crate::output::{Exit, Failure, Output, text_of};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The resource id of the topic, domain or communication resource
    #[arg(long, value_name = "ID")]
    source: String,
    /// A file with the filter in JSON, written as in an event subscription, or with an event subscription
    #[arg(long, value_name = "FILE")]
    filter: PathBuf,
    /// How many of the newest events to try, at most 1000
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    last: u64,
}

pub(super) async fn run(
    arguments: &Arguments,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    if arguments.source.parse::<ResourceId>().is_err() {
        let words = "--source takes a resource id, such as \"$GRIDPOST_RESOURCE_ID\" after `eval \"$(gridpost env)\"`";
        return Err(Failure::said(Exit::Usage, words));
    }
    let filter = read(&arguments.filter)?;
    let body = json!({"source": arguments.source, "filter": filter, "last": arguments.last});
    let asked = client.own(Method::POST, "filters/try", Some(&body));
    let tried = output.waiting("trying the filter", asked).await?;
    output.result(&tried, told);
    Ok(())
}

fn read(path: &Path) -> Result<Value, Failure> {
    let said = |why: String| Failure::said(Exit::Usage, format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| said(error.to_string()))?;
    let written = serde_json::from_str(&text).map_err(|error| said(error.to_string()))?;
    Ok(filter_of(written))
}

/// The filter of an event subscription, when the file holds one as management clients show it.
fn filter_of(written: Value) -> Value {
    let inside = [&written["properties"]["filter"], &written["filter"]];
    let found = inside.into_iter().find(|filter| filter.is_object());
    found.cloned().unwrap_or(written)
}

fn told(tried: &Value) -> String {
    let count = |name| tried[name].as_u64().unwrap_or_default();
    if count("tried") == 0 {
        return "No event of this source is kept.\n".to_owned();
    }
    let mut text = format!("{} of {} events match.\n", count("matched"), count("tried"));
    for event in tried["value"].as_array().map_or(&[][..], Vec::as_slice) {
        let sign = match event["matched"].as_bool() {
            Some(true) => '+',
            _ => '-',
        };
        text.push_str(&format!(
            "{sign} {}  {}  {}  {}\n",
            text_of(event, "accepted"),
            render::kind(&event["eventType"]),
            render::subject(&event["subject"]),
            text_of(event, "id"),
        ));
        let because = render::plain(&event["because"]);
        if !because.is_empty() {
            text.push_str(&format!("    {because}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_a_line_and_a_refused_one_has_its_reason() {
        let tried = json!({"tried": 2, "matched": 1, "value": [
            {"id": "2", "eventType": "T", "subject": "/b", "accepted": "now", "matched": true},
            {"id": "1", "eventType": "T", "subject": "/a", "accepted": "then", "matched": false, "because": "No."},
        ]});
        assert_eq!(
            told(&tried),
            "1 of 2 events match.\n+ now  T  /b  2\n- then  T  /a  1\n    No.\n"
        );
        let nothing = json!({"tried": 0, "matched": 0, "value": []});
        assert_eq!(told(&nothing), "No event of this source is kept.\n");
    }

    #[test]
    fn a_file_holds_a_filter_or_a_subscription() {
        let filter = json!({"subjectBeginsWith": "a"});
        for written in [
            filter.clone(),
            json!({"filter": filter}),
            json!({"properties": {"filter": filter}}),
        ] {
            assert_eq!(filter_of(written), filter);
        }
    }
}
