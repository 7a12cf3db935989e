//! The body of an export request, in the JSON form of the protocol.
//!
//! Promise: numbers of traces and spans are hexadecimal and 64-bit numbers are texts, as that form wants them.
//! Source: OpenTelemetry protocol 1.x, "JSON Protobuf Encoding"; opentelemetry-proto, trace/v1/trace.proto.

use gridpost_grid::trace::{Kind, Span, Value};
use gridpost_model::Timestamp;
use gridpost_model::trace::Hex;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// `SPAN_KIND_SERVER`, `SPAN_KIND_CLIENT`.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// A request that exports these spans.
pub(super) fn request(service_name: &str, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let spans: Vec<_> = spans.iter().map(span).collect();
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": [
            attribute("service.name", &Value::Text(service_name.to_owned())),
            attribute("service.version", &Value::Text(version.to_owned())),
        ] },
        "scopeSpans": [{ "scope": { "name": "gridpost", "version": version }, "spans": spans }],
    }] });
    body.to_string().into_bytes()
}

fn span(span: &Span) -> Json {
    let attributes: Vec<_> = span
        .attributes
        .iter()
        .map(|(name, value)| attribute(name, value))
        .collect();
    let mut json = json!({
        "traceId": Hex(&span.context.trace).to_string(),
        "spanId": Hex(&span.context.span).to_string(),
        "flags": span.context.flags,
        "name": span.name,
        "kind": match span.kind { Kind::Server => SERVER, Kind::Client => CLIENT },
        "startTimeUnixNano": nanos(span.began),
        "endTimeUnixNano": nanos(span.ended),
        "attributes": attributes,
    });
    if let Some(parent) = &span.parent {
        json["parentSpanId"] = Hex(parent).to_string().into();
    }
    if !span.links.is_empty() {
        let link = |link: &gridpost_model::TraceContext| json!({ "traceId": Hex(&link.trace).to_string(), "spanId": Hex(&link.span).to_string() });
        json["links"] = span.links.iter().map(link).collect();
    }
    if let Some(failure) = &span.failure {
        json["status"] = json!({ "code": ERROR, "message": failure });
    }
    json
}

fn attribute(name: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
    };
    json!({ "key": name, "value": value })
}

fn nanos(moment: Timestamp) -> String {
    (i128::from(moment.ticks()) * 100).to_string()
}

/// How many spans the collector says it did not take.
pub(super) fn rejected(body: &[u8]) -> u64 {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        partial_success: Option<Partial>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Partial {
        rejected_spans: Option<Json>,
    }
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let rejected = answer
        .and_then(|answer| answer.partial_success)
        .and_then(|partial| partial.rejected_spans);
    match rejected {
        Some(Json::String(text)) => text.parse().unwrap_or(0),
        Some(Json::Number(number)) => number.as_u64().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::TraceContext;

    use super::*;

    #[test]
    fn a_span_stands_as_the_protocol_wants_it() {
        let context = TraceContext::sampled([0xab; 16], [1; 8]);
        let body = request(
            "box",
            &[Span {
                context,
                parent: Some([2; 8]),
                kind: Kind::Client,
                name: "deliver es1".into(),
                began: Timestamp::from_seconds(1),
                ended: Timestamp::from_ticks(10_000_001),
                attributes: vec![("a", Value::Text("x".into())), ("b", Value::Number(7))],
                links: vec![context.at([3; 8])],
                failure: Some("Busy".into()),
            }],
        );
        let body: Json = serde_json::from_slice(&body).unwrap();
        let resource = &body["resourceSpans"][0];
        assert_eq!(
            resource["resource"]["attributes"][0],
            json!({"key": "service.name", "value": {"stringValue": "box"}})
        );
        assert_eq!(
            resource["scopeSpans"][0]["spans"],
            json!([{
                "traceId": "abababababababababababababababab", "spanId": "0101010101010101",
                "parentSpanId": "0202020202020202", "flags": 1, "name": "deliver es1", "kind": 3,
                "startTimeUnixNano": "1000000000", "endTimeUnixNano": "1000000100",
                "attributes": [
                    {"key": "a", "value": {"stringValue": "x"}},
                    {"key": "b", "value": {"intValue": "7"}},
                ],
                "links": [{"traceId": "abababababababababababababababab", "spanId": "0303030303030303"}],
                "status": {"code": 2, "message": "Busy"},
            }])
        );
    }

    #[test]
    fn a_collector_may_say_that_it_left_some_out() {
        let table = [
            ("", 0),
            ("{}", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":"3"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":2}}"#, 2),
        ];
        for (body, count) in table {
            assert_eq!(rejected(body.as_bytes()), count, "{body}");
        }
    }
}
