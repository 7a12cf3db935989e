//! What a filter may say.
//!
//! Source: reference event-grid 3.4, 3.5. The service's own words for these refusals are not documented.

use gridpost_model::filter::TopicKind;
use gridpost_model::filter::advanced::{AdvancedFilter, Operand};
use gridpost_model::{Filter, event_type};

use crate::manage::Invalid;

/// The service publishes no bound for these; ours keep one row small.
const SUBJECT_BYTES: usize = 2048;
const EVENT_TYPES: usize = 500;
const KEY_CHARACTERS: usize = 512;

/// The bounds of the service, per subscription.
const ADVANCED_FILTERS: usize = 25;
const ADVANCED_VALUES: usize = 25;
const TEXT_CHARACTERS: usize = 512;

/// Brings a filter into the form that is kept, or says what is wrong with it.
pub(crate) fn check_filter(filter: Filter, kind: TopicKind) -> Result<Filter, Invalid> {
    let too_long = |text: &str| SUBJECT_BYTES < text.len();
    let message = || format!("At most {SUBJECT_BYTES} characters of a subject can be compared.");
    if too_long(&filter.subject_begins_with) {
        return Err(Invalid::new("filter.subjectBeginsWith", message()));
    }
    if too_long(&filter.subject_ends_with) {
        return Err(Invalid::new("filter.subjectEndsWith", message()));
    }
    check_advanced(&filter.advanced)
        .map_err(|message| Invalid::new("filter.advancedFilters", message))?;
    let included_event_types = check_types(filter.included_event_types, kind)?;
    Ok(Filter {
        included_event_types,
        ..filter
    })
}

/// An empty list and `All` mean the default types, as no list does.
fn check_types(
    types: Option<Vec<String>>,
    kind: TopicKind,
) -> Result<Option<Vec<String>>, Invalid> {
    let field = "filter.includedEventTypes";
    let Some(types) = types.filter(|types| !types.is_empty()) else {
        return Ok(None);
    };
    if types.iter().any(|one| one.eq_ignore_ascii_case("All")) {
        return Ok(None);
    }
    if EVENT_TYPES < types.len() || types.iter().any(String::is_empty) {
        return Err(Invalid::new(
            field,
            format!("1 to {EVENT_TYPES} event types that are not empty can be listed."),
        ));
    }
    let unknown =
        |one: &&String| kind == TopicKind::Communication && event_type::find(one).is_none();
    if let Some(unknown) = types.iter().find(unknown) {
        let hint = match meant(unknown) {
            Some(name) => format!(" Did you mean '{name}'?"),
            None => String::new(),
        };
        return Err(Invalid::new(
            field,
            format!(
                "The event type '{unknown}' is not an event type of '{}'.{hint}",
                event_type::COMMUNICATION_TOPIC_TYPE
            ),
        ));
    }
    Ok(Some(types))
}

/// The type whose last part is nearest, when so few letters differ that it is a slip of the pen.
fn meant(unknown: &str) -> Option<&'static str> {
    const SLIPS: usize = 3;
    // No name is longer; comparing costs the product of both lengths.
    const LONGEST: usize = 128;
    let last = |name: &str| name.rsplit('.').next().map(str::to_ascii_lowercase);
    let given = last(unknown).filter(|given| given.len() <= LONGEST)?;
    let distance = |name: &str| strsim::osa_distance(&given, &last(name).unwrap_or_default());
    event_type::COMMUNICATION
        .iter()
        .map(|(name, _)| (distance(name), *name))
        .min()
        .filter(|(slips, _)| *slips <= SLIPS)
        .map(|(_, name)| name)
}

fn check_advanced(filters: &[AdvancedFilter]) -> Result<(), String> {
    if ADVANCED_FILTERS < filters.len() {
        return Err(format!(
            "An event subscription has at most {ADVANCED_FILTERS} advanced filters; {} were given.",
            filters.len()
        ));
    }
    let values: usize = filters
        .iter()
        .map(|one| one.condition.operand().count())
        .sum();
    if ADVANCED_VALUES < values {
        return Err(format!(
            "The advanced filters of an event subscription have at most {ADVANCED_VALUES} values together; {values} were given."
        ));
    }
    filters.iter().enumerate().try_for_each(|(index, one)| {
        check_key(&one.key)
            .and_then(|()| check_operand(one))
            .map_err(|why| format!("advancedFilters[{index}]: {why}"))
    })
}

fn check_key(key: &str) -> Result<(), String> {
    if KEY_CHARACTERS < key.chars().count() {
        return Err(format!(
            "The key is longer than {KEY_CHARACTERS} characters."
        ));
    }
    if key.split('.').any(|name| name.trim().is_empty()) {
        return Err(format!(
            "The key '{key}' is not a path of names with dots between them, such as 'data.key1.key2'; a name itself cannot contain a dot."
        ));
    }
    Ok(())
}

fn check_operand(filter: &AdvancedFilter) -> Result<(), String> {
    let (operator, operand) = (filter.condition.operator(), filter.condition.operand());
    match operand {
        Operand::Nothing | Operand::Number(_) | Operand::Bool(_) => Ok(()),
        _ if operand.count() == 0 => Err(format!("{operator} needs at least one value.")),
        Operand::Numbers(_) => Ok(()),
        Operand::Ranges(ranges) => match ranges.iter().find(|[low, high]| high < low) {
            Some([low, high]) => Err(format!(
                "The range [{low}, {high}] of {operator} ends before it begins."
            )),
            None => Ok(()),
        },
        Operand::Texts(texts) => {
            let too_long = |text: &String| TEXT_CHARACTERS < text.chars().count();
            if texts.iter().any(too_long) {
                return Err(format!(
                    "A value of {operator} is longer than {TEXT_CHARACTERS} characters."
                ));
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::filter::Condition;

    use super::*;

    fn advanced(key: &str, condition: Condition) -> AdvancedFilter {
        AdvancedFilter {
            key: key.into(),
            condition,
        }
    }

    fn refused(filters: Vec<AdvancedFilter>) -> Option<String> {
        let filter = Filter {
            advanced: filters,
            ..Filter::default()
        };
        let refused = check_filter(filter, TopicKind::Custom).err()?;
        assert_eq!(refused.field, "filter.advancedFilters");
        Some(refused.message)
    }

    #[test]
    fn section_3_5_twenty_five_filters_and_twenty_five_values_in_all() {
        let not_null = |_| advanced("data.x", Condition::IsNotNull);
        assert_eq!(refused((0..25).map(not_null).collect()), None);
        let message = refused((0..26).map(not_null).collect()).unwrap();
        assert!(
            message.contains("at most 25 advanced filters; 26"),
            "{message}"
        );

        let numbers = |count| advanced("data.x", Condition::NumberIn(vec![1.0; count]));
        let less = || advanced("data.x", Condition::NumberLessThan(1.0));
        assert_eq!(refused(vec![numbers(12), numbers(12), less()]), None);
        let message = refused(vec![numbers(12), numbers(13), less()]).unwrap();
        assert!(
            message.contains("at most 25 values together; 26"),
            "{message}"
        );
    }

    #[test]
    fn section_3_5_texts_of_512_characters() {
        let text = |length| {
            vec![advanced(
                "id",
                Condition::StringIn(vec!["é".repeat(length)]),
            )]
        };
        assert_eq!(refused(text(512)), None);
        assert_eq!(
            refused(text(513)).unwrap(),
            "advancedFilters[0]: A value of StringIn is longer than 512 characters."
        );
    }

    #[test]
    fn section_3_5_keys_are_paths() {
        for key in ["id", "data.a.b.c.d", "Data.Key 1"] {
            assert_eq!(
                refused(vec![advanced(key, Condition::IsNotNull)]),
                None,
                "{key}"
            );
        }
        for key in ["", ".", "data.", "data..x", ".id", &"k".repeat(513)] {
            assert!(
                refused(vec![advanced(key, Condition::IsNotNull)]).is_some(),
                "{key}"
            );
        }
    }

    #[test]
    fn a_list_is_not_empty_and_a_range_does_not_end_before_it_begins() {
        for (condition, passes) in [
            (Condition::StringIn(vec![]), false),
            (Condition::NumberNotIn(vec![]), false),
            (Condition::NumberInRange(vec![]), false),
            (Condition::NumberInRange(vec![[1.0, 1.0]]), true),
            (
                Condition::NumberNotInRange(vec![[1.0, 2.0], [2.0, 1.0]]),
                false,
            ),
        ] {
            let refused = refused(vec![advanced("id", condition.clone())]);
            assert_eq!(refused.is_none(), passes, "{condition:?}");
        }
    }

    #[test]
    fn a_mistyped_type_is_told_which_was_meant() {
        let received = Some("Microsoft.Communication.ChatMessageReceived");
        for typed in [
            "Microsoft.Communication.ChatMessageRecieved",
            "ChatMessageReceived",
            "chatmessagereceived",
        ] {
            assert_eq!(meant(typed), received, "{typed}");
        }
        for other in ["Shop.Ordered", "", &"x".repeat(1_000)] {
            assert_eq!(meant(other), None, "{other}");
        }
    }

    #[test]
    fn section_3_4_unknown_types_are_refused_on_a_system_topic_and_all_means_no_list() {
        let types = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        let kind = TopicKind::Communication;
        let sms = "Microsoft.Communication.SMSReceived";
        assert_eq!(check_types(types(&[sms]), kind).unwrap(), types(&[sms]));
        assert_eq!(check_types(types(&["All"]), kind).unwrap(), None);
        assert_eq!(check_types(types(&[]), kind).unwrap(), None);
        assert!(check_types(types(&[sms, "Microsoft.Communication.Sms"]), kind).is_err());
        assert!(check_types(types(&["Own.Type"]), TopicKind::Custom).is_ok());
    }
}
