//! Flags that may be given several times with several values each, as `az` has them.
//!
//! Promise: `--advanced-filter data.n NumberIn 1 2 --advanced-filter data.s StringContains x` are two filters.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use serde_json::{Value, json};

/// `--advanced-filter` and `--delivery-attribute-mapping`.
#[derive(Debug, Default)]
pub(in crate::cli) struct Occurrences {
    filters: Vec<Vec<String>>,
    mappings: Vec<Vec<String>>,
}

const FILTER: &str = "advanced-filter";
const MAPPING: &str = "delivery-attribute-mapping";

impl Args for Occurrences {
    fn augment_args(command: Command) -> Command {
        let several = |name: &'static str, least: usize| {
            Arg::new(name)
                .long(name)
                .num_args(least..)
                .action(ArgAction::Append)
        };
        command
            .arg(several(FILTER, 2).value_names(["KEY", "OPERATOR", "VALUE"]).allow_negative_numbers(true).help(
                "A further condition: data.total NumberGreaterThan 100; may be given several times",
            ))
            .arg(several(MAPPING, 3).value_names(["NAME", "static|dynamic", "VALUE", "SECRET"]).help(
                "A header of each delivery: x-team static ops false, or x-total dynamic data.total; may be given several times",
            ))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Occurrences {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let all = |name: &str| {
            let all = matches
                .get_occurrences::<String>(name)
                .into_iter()
                .flatten();
            all.map(|one| one.cloned().collect()).collect()
        };
        Ok(Self {
            filters: all(FILTER),
            mappings: all(MAPPING),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Occurrences {
    /// `advancedFilters`.
    pub(super) fn filters(&self) -> Option<Value> {
        let all = self.filters.iter();
        (!self.filters.is_empty()).then(|| all.map(|one| filter(one)).collect())
    }

    /// `deliveryAttributeMappings`.
    pub(super) fn mappings(&self) -> Option<Value> {
        let all = self.mappings.iter();
        (!self.mappings.is_empty()).then(|| all.map(|one| mapping(one)).collect())
    }
}

/// Values are read as the operator wants them; the server says what is wrong with others.
fn filter(words: &[String]) -> Value {
    let [key, operator, values @ ..] = words else {
        return Value::Null;
    };
    let kind = operator.to_ascii_lowercase();
    let number = |text: &str| {
        text.parse::<f64>()
            .map_or_else(|_| json!(text), |number| json!(number))
    };
    let read = |text: &String| match () {
        () if kind.ends_with("inrange") => {
            text.split(',').map(|part| number(part.trim())).collect()
        }
        () if kind.starts_with("number") => number(text),
        () if kind.starts_with("bool") => text
            .parse::<bool>()
            .map_or_else(|_| json!(text), Value::from),
        () => json!(text),
    };
    let values: Vec<Value> = values.iter().map(read).collect();
    let is_single =
        kind.starts_with("bool") || kind.contains("lessthan") || kind.contains("greaterthan");
    match (is_single, values.as_slice()) {
        (_, []) => json!({"operatorType": operator, "key": key}),
        (true, [one]) => json!({"operatorType": operator, "key": key, "value": one}),
        _ => json!({"operatorType": operator, "key": key, "values": values}),
    }
}

fn mapping(words: &[String]) -> Value {
    let [name, kind, value, rest @ ..] = words else {
        return Value::Null;
    };
    if kind.eq_ignore_ascii_case("dynamic") {
        return json!({"name": name, "type": "Dynamic", "properties": {"sourceField": value}});
    }
    let is_secret = rest
        .first()
        .is_some_and(|text| text.eq_ignore_ascii_case("true"));
    json!({"name": name, "type": kind, "properties": {"value": value, "isSecret": is_secret}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_7_flags_that_are_repeated_stay_apart() {
        let line = "x --advanced-filter data.From StringBeginsWith 15 16 --advanced-filter data.r NumberInRange 1,5 10,20 \
                    --advanced-filter data.f BoolEquals true --advanced-filter data.z IsNotNull \
                    --delivery-attribute-mapping X-A static v1 true --delivery-attribute-mapping X-B dynamic data.x";
        let command = Occurrences::augment_args(Command::new("x"));
        let matches = command
            .try_get_matches_from(line.split_whitespace())
            .unwrap();
        let read = Occurrences::from_arg_matches(&matches).unwrap();
        assert_eq!(
            read.filters(),
            Some(json!([
                {"operatorType": "StringBeginsWith", "key": "data.From", "values": ["15", "16"]},
                {"operatorType": "NumberInRange", "key": "data.r", "values": [[1.0, 5.0], [10.0, 20.0]]},
                {"operatorType": "BoolEquals", "key": "data.f", "value": true},
                {"operatorType": "IsNotNull", "key": "data.z"},
            ]))
        );
        assert_eq!(
            read.mappings(),
            Some(json!([
                {"name": "X-A", "type": "static", "properties": {"value": "v1", "isSecret": true}},
                {"name": "X-B", "type": "Dynamic", "properties": {"sourceField": "data.x"}},
            ]))
        );
    }
}
