//! Lists: `$top` pages, `$filter` on names, and the link to the next page.
//!
//! Promise: a filter that is not understood is refused, because a list that ignores it would be wrong.
//! Source: reference management 4, event-grid 3.1.

use serde_json::{Value, json};

use super::{Answer, Call, ok};
use crate::problem::Refusal;

/// Answers with the part of `all` that was asked for. Each element has a `name`.
pub(super) fn answer(call: &Call, all: Vec<Value>) -> Answer {
    answer_some(call, all, name_of, |one| one)
}

/// The elements of one answer at most; the service allows `$top` as much, and our lists have no other bound.
const PAGE: usize = 100;

/// There are no private endpoints, so nothing is listed, none is found and none can be made or approved. `below` is what
/// the path has behind the list.
pub(super) fn of_private_links(call: &Call, below: &[&str]) -> Answer {
    if *call.method() != http::Method::GET {
        return Err(Refusal::not_implemented("A private endpoint connection"));
    }
    match below {
        [] => ok(json!({"value": []})),
        _ => Err(Refusal::no_route(&call.path)),
    }
}

/// The same for what is costly to show: only what the answer holds is.
pub(super) fn answer_some<T>(
    call: &Call,
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
    cut(call, all.into_iter().filter(wanted), shown)
}

/// The part of `all` that was asked for, when something else has read the filter.
pub(super) fn page(call: &Call, all: Vec<Value>) -> Answer {
    cut(call, all.into_iter(), |one| one)
}

fn cut<T>(call: &Call, all: impl Iterator<Item = T>, shown: impl Fn(T) -> Value) -> Answer {
    let start = number(call, "$skiptoken")?.unwrap_or(0);
    let top = number(call, "$top")?.unwrap_or(PAGE).min(PAGE);
    if top == 0 {
        return Err(Refusal::invalid_field(
            "$top",
            "The query parameter '$top' must be at least 1.",
        ));
    }
    let mut rest = all.skip(start);
    let page: Vec<Value> = rest.by_ref().take(top).map(shown).collect();
    if rest.next().is_none() {
        return ok(json!({"value": page}));
    }
    ok(json!({"value": page, "nextLink": next_link(call, start + top)}))
}

fn name_of(one: &Value) -> &str {
    one.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn number(call: &Call, parameter: &str) -> Result<Option<usize>, Refusal> {
    let Some(text) = call.query(parameter) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        let message = format!("The query parameter '{parameter}' is not a number.");
        Refusal::invalid_field(parameter, message)
    })
}

/// The same request, further on.
fn next_link(call: &Call, from: usize) -> String {
    let query = call.head.uri.query().unwrap_or_default();
    let mut next = url::form_urlencoded::Serializer::new(String::new());
    let kept = url::form_urlencoded::parse(query.as_bytes());
    next.extend_pairs(kept.filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken")));
    next.append_pair("$skiptoken", &from.to_string());
    format!("{}{}?{}", call.base, call.head.uri.path(), next.finish())
}

/// What a filter may be nested at most, so that reading one takes bounded room.
const DEPTH: usize = 16;

/// A filter over `name`: clauses, joined by `and`, `or`, `not` and brackets.
#[derive(Debug, PartialEq)]
enum Clause {
    Contains(String),
    Is(String),
    IsNot(String),
    Not(Box<Clause>),
    All(Vec<Clause>),
    Any(Vec<Clause>),
}

impl Clause {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let folded = text.to_ascii_lowercase();
        let mut reading = Reading(&folded);
        let read = reading.any(DEPTH);
        read.filter(|_| reading.0.trim().is_empty()).ok_or_else(|| {
            let message = format!(
                "The filter '{text}' is not supported; use contains(name, 'x'), name eq 'x' and name ne 'x', joined by and, or, not and brackets."
            );
            Refusal::invalid_field("$filter", message)
        })
    }

    fn holds(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.holds_folded(&name)
    }

    fn holds_folded(&self, name: &str) -> bool {
        match self {
            Self::Contains(part) => name.contains(part.as_str()),
            Self::Is(whole) => name == whole,
            Self::IsNot(whole) => name != whole,
            Self::Not(clause) => !clause.holds_folded(name),
            Self::All(clauses) => clauses.iter().all(|one| one.holds_folded(name)),
            Self::Any(clauses) => clauses.iter().any(|one| one.holds_folded(name)),
        }
    }
}

/// What is left of a filter to be read, in lower case. `not` binds closer than `and`, and that closer than `or`.
struct Reading<'a>(&'a str);

impl Reading<'_> {
    fn any(&mut self, depth: usize) -> Option<Clause> {
        self.joined("or", Clause::Any, |rest| rest.all(depth))
    }

    fn all(&mut self, depth: usize) -> Option<Clause> {
        self.joined("and", Clause::All, |rest| rest.one(depth))
    }

    fn joined(
        &mut self,
        word: &str,
        join: fn(Vec<Clause>) -> Clause,
        next: impl Fn(&mut Self) -> Option<Clause>,
    ) -> Option<Clause> {
        let mut clauses = vec![next(self)?];
        while self.word(word) {
            clauses.push(next(self)?);
        }
        Some(match clauses.len() {
            1 => clauses.remove(0),
            _ => join(clauses),
        })
    }

    fn one(&mut self, depth: usize) -> Option<Clause> {
        let deeper = depth.checked_sub(1)?;
        if self.word("not") {
            return Some(Clause::Not(Box::new(self.one(deeper)?)));
        }
        if self.sign('(') {
            let inner = self.any(deeper)?;
            return self.sign(')').then_some(inner);
        }
        if self.word("contains") {
            let begins = self.sign('(') && self.word("name") && self.sign(',');
            let part = begins.then(|| self.quoted()).flatten()?;
            return self.sign(')').then_some(Clause::Contains(part));
        }
        if !self.word("name") {
            return None;
        }
        match (self.word("eq"), self.word("ne")) {
            (true, false) => self.quoted().map(Clause::Is),
            (false, true) => self.quoted().map(Clause::IsNot),
            _ => None,
        }
    }

    /// Goes beyond a word, if it comes next.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(word);
        let ends = |rest: &&str| !rest.starts_with(|next: char| next.is_alphanumeric());
        rest.filter(ends).map(|rest| self.0 = rest).is_some()
    }

    fn sign(&mut self, sign: char) -> bool {
        let rest = self.0.trim_start().strip_prefix(sign);
        rest.map(|rest| self.0 = rest).is_some()
    }

    fn quoted(&mut self) -> Option<String> {
        let (inner, rest) = self.0.trim_start().strip_prefix('\'')?.split_once('\'')?;
        self.0 = rest;
        Some(inner.to_owned())
    }
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
            ("name eq 'x' or name eq 'orders'", "orders", true),
            ("contains(name,'or') and name ne 'orders'", "orders", false),
            (
                "contains(name,'or') AND NOT contains(name,'x')",
                "orders",
                true,
            ),
            ("not (name eq 'orders' or name eq 'y')", "orders", false),
            // `and` binds closer than `or`.
            (
                "name eq 'orders' or name eq 'a' and name eq 'b'",
                "orders",
                true,
            ),
            (
                "(name eq 'orders' or name eq 'a') and name eq 'b'",
                "orders",
                false,
            ),
            ("name eq 'and or not'", "and or not", true),
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
            "name eq 'x' or",
            "name eq 'x' name eq 'y'",
            "name eq 'x' xor name eq 'y'",
            "name eq 'x",
            "not",
            "(name eq 'x'",
            "name",
            "contains(name)",
        ] {
            assert!(Clause::parse(filter).is_err(), "{filter}");
        }
        let nested = |times: usize| format!("{}name eq 'x'", "not ".repeat(times));
        assert!(Clause::parse(&nested(DEPTH - 1)).is_ok());
        assert!(Clause::parse(&nested(10_000)).is_err());
    }
}
