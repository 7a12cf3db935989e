//! `cargo xtask demo`: the main job in one command.
//!
//! Promise: `gridpost demo --once` prints the webhook request that delivered a text message through the filter of the
//! documentation, and nothing else on standard output.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::{capture, program};
use crate::output;
use crate::server::{Build, build, clean};

/// Runs the demo and checks what it prints.
pub(crate) fn run() -> Result<()> {
    let binary = build(Build::Development)?;
    let printed = capture(clean(&mut program(binary, ["demo", "--once"])))?;
    let request: Value = serde_json::from_str(&printed).context("the demo printed no JSON")?;
    check(&request).with_context(|| format!("the demo printed\n{printed}"))?;
    output::line("the demo printed the request that delivered an SMSReceived event");
    Ok(())
}

fn check(request: &Value) -> Result<()> {
    ensure!(request["method"] == "POST", "the method is not POST");
    ensure!(
        request["path"]
            .as_str()
            .is_some_and(|path| path.starts_with('/')),
        "no path"
    );
    let headers = request["headers"].as_object().context("no headers")?;
    let kind = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("aeg-event-type"));
    ensure!(
        kind.is_some_and(|(_, value)| value == "Notification"),
        "not a notification"
    );
    let events = request["body"]
        .as_array()
        .context("the body is not an array")?;
    let [event] = &events[..] else {
        anyhow::bail!("not exactly one event")
    };
    ensure!(
        event["eventType"] == "Microsoft.Communication.SMSReceived",
        "another event type"
    );
    let subject = event["subject"].as_str().context("no subject")?;
    ensure!(
        subject.starts_with("/phonenumber/1555"),
        "a subject the filter refuses: {subject}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request() -> Value {
        json!({
            "method": "POST",
            "path": "/_gridpost/v1/sinks/demo",
            "headers": {"aeg-event-type": "Notification"},
            "body": [{
                "eventType": "Microsoft.Communication.SMSReceived",
                "subject": "/phonenumber/15555550100",
            }],
        })
    }

    #[test]
    fn the_request_of_the_mission_is_accepted() {
        check(&request()).unwrap();
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong = [
            ("/method", json!("GET")),
            ("/headers/aeg-event-type", json!("SubscriptionValidation")),
            (
                "/body/0/eventType",
                json!("Microsoft.Communication.SMSDeliveryReportReceived"),
            ),
            ("/body/0/subject", json!("/phonenumber/14255550100")),
            ("/body", json!([])),
        ];
        for (pointer, value) in wrong {
            let mut request = request();
            *request.pointer_mut(pointer).unwrap() = value;
            assert!(check(&request).is_err(), "{pointer}");
        }
    }
}
