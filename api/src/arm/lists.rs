//! Lists: `$top` pages, `$filter` on names, and the link to the next page.
//!
//! Promise: a filter that is not understood is refused, because a list that ignores it would be wrong.
//! Source: reference management 4, event-grid 3.1.

use serde_json::{Value, json};

use super::{Answer, Call, ok};
use crate::problem::Refusal;

/// Answers with the part of `all` that was asked for. Each element has a `name`.
pub(super) fn answer(call: &Call<'_>, all: Vec<Value>) -> Answer {
    answer_some(call, all, name_of, |one| one)
}

/// The elements of one answer at most; the service allows `$top` as much, and our lists have no other bound.
const PAGE: usize = 100;

/// There are no private endpoints, so nothing is listed and none can be approved.
pub(super) fn of_private_links(call: &Call<'_>) -> Answer {
    if *call.method() == http::Method::GET {
        return ok(json!({"value": []}));
    }
    Err(Refusal::not_implemented("A private endpoint connection"))
}

/// The same for what is costly to show: only what the answer holds is.
pub(super) fn answer_some<T>(
    call: &Call<'_>,
    all: Vec<T>,
    name_of: impl Fn(&T) -> &str,
    shown: impl Fn(T) -> Value,
) -> Answer {
    let clause = call
        .query("$filter")
        .map(|text| Clause::parse(&text))
        .transpose()?;
    let wanted = |one: &T| {
        clause
            .as_ref()
            .is_none_or(|clause| clause.holds(name_of(one)))
    };
    let start = number(call, "$skiptoken")?.unwrap_or(0);
    let top = number(call, "$top")?.unwrap_or(PAGE).min(PAGE);
    if top == 0 {
        return Err(Refusal::invalid_field(
            "$top",
            "The query parameter '$top' must be at least 1.",
        ));
    }
    let mut rest = all.into_iter().filter(wanted).skip(start);
    let page: Vec<Value> = rest.by_ref().take(top).map(shown).collect();
    if rest.next().is_none() {
        return ok(json!({"value": page}));
    }
    ok(json!({"value": page, "nextLink": next_link(call, start + top)}))
}

fn name_of(one: &Value) -> &str {
    one.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn number(call: &Call<'_>, parameter: &str) -> Result<Option<usize>, Refusal> {
    let Some(text) = call.query(parameter) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        let message = format!("The query parameter '{parameter}' is not a number.");
        Refusal::invalid_field(parameter, message)
    })
}

/// The same request, further on.
fn next_link(call: &Call<'_>, from: usize) -> String {
    let query = call.head.uri.query().unwrap_or_default();
    let mut next = url::form_urlencoded::Serializer::new(String::new());
    let kept = url::form_urlencoded::parse(query.as_bytes());
    next.extend_pairs(kept.filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken")));
    next.append_pair("$skiptoken", &from.to_string());
    format!("{}{}?{}", call.base, call.head.uri.path(), next.finish())
}

/// One clause over `name`.
#[derive(Debug, PartialEq)]
enum Clause {
    Contains(String),
    Is(String),
    IsNot(String),
}

impl Clause {
    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::read(text.trim()).ok_or_else(|| {
            let message = format!(
                "The filter '{text}' is not supported; use contains(name, 'x'), name eq 'x' or name ne 'x'."
            );
            Refusal::invalid_field("$filter", message)
        })
    }

    fn read(text: &str) -> Option<Self> {
        let folded = text.to_ascii_lowercase();
        if let Some(inner) = folded.strip_prefix("contains(") {
            let (property, value) = inner.strip_suffix(')')?.split_once(',')?;
            return (property.trim() == "name").then_some(Self::Contains(quoted(value)?));
        }
        let (property, rest) = folded.split_once(' ')?;
        let (operator, value) = rest.trim_start().split_once(' ')?;
        match (property, operator) {
            ("name", "eq") => Some(Self::Is(quoted(value)?)),
            ("name", "ne") => Some(Self::IsNot(quoted(value)?)),
            _ => None,
        }
    }

    fn holds(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        match self {
            Self::Contains(part) => name.contains(part.as_str()),
            Self::Is(whole) => name == *whole,
            Self::IsNot(whole) => name != *whole,
        }
    }
}

fn quoted(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    (!inner.contains('\'')).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_grid_3_1_filters_on_names() {
        let table = [
            ("contains(name,'ORD')", "orders", true),
            ("contains(Name, 'x')", "orders", false),
            ("name eq 'Orders'", "orders", true),
            ("name ne 'orders'", "orders", false),
        ];
        for (filter, name, holds) in table {
            assert_eq!(
                Clause::parse(filter).unwrap().holds(name),
                holds,
                "{filter}"
            );
        }
    }

    #[test]
    fn other_filters_are_refused() {
        for filter in [
            "",
            "location eq 'x'",
            "name eq 'x' or name eq 'y'",
            "name",
            "contains(name)",
        ] {
            assert!(Clause::parse(filter).is_err(), "{filter}");
        }
    }
}
