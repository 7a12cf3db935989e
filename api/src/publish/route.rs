//! Which topic a published event is of.
//!
//! Promise: every event is stamped with the full id of a topic: that of the topic it was published to, or the one it
//! names in the domain it was published to, whether or not that exists.
//! Source: reference event-grid 1.1, 2.8.

use std::sync::Arc;

use gridpost_grid::intake::{Intake, IntakeKind};
use http::StatusCode;

use super::body::words::Words;
use crate::problem::PublishRefusal;

/// Where a batch came in.
pub(super) enum Route {
    /// At a topic, which may be named and need not be.
    Topic(Arc<str>),
    /// At a domain, so that every event has to name its topic.
    Domain(Arc<str>),
}

impl Route {
    /// The route of what comes in at an intake.
    pub(super) fn of(intake: &Intake) -> Self {
        match intake.kind {
            IntakeKind::Topic => Self::Topic(intake.id.shared()),
            IntakeKind::Domain => Self::Domain(intake.id.shared()),
        }
    }

    /// The id of the topic of an event that says this of it.
    pub(super) fn topic(
        &self,
        given: Option<&str>,
        words: Words,
    ) -> Result<Arc<str>, PublishRefusal> {
        match self {
            Self::Topic(own) => {
                check_topic(given, own)?;
                Ok(Arc::clone(own))
            }
            Self::Domain(domain) => {
                let given = given.filter(|text| !text.is_empty());
                let given = given.ok_or_else(|| words.missing("topic"))?;
                Ok(format!("{domain}/topics/{}", domain_topic(given, domain)?).into())
            }
        }
    }
}

/// A foreign topic is a question of permission to the real service, hence 401.
fn check_topic(given: Option<&str>, own: &str) -> Result<(), PublishRefusal> {
    match given {
        Some(other) if !other.eq_ignore_ascii_case(own) => Err(PublishRefusal::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            format!(
                "Property 'topic' was found to be set to '{other}', but was expected to either be null or be set to '{own}'."
            ),
        )),
        _ => Ok(()),
    }
}

/// The name of a domain's topic, out of its name or its id.
fn domain_topic<'a>(given: &'a str, domain: &str) -> Result<&'a str, PublishRefusal> {
    let malformed = || {
        Words::invalid(format!(
            "Required property 'topic' needs to either be a full resource id or should be just the name of the domain topic. Found: {given}"
        ))
    };
    if !given.starts_with('/') {
        let is_name = !given.contains(['/', ':']);
        return is_name.then_some(given).ok_or_else(malformed);
    }
    let foreign = || {
        PublishRefusal::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            format!(
                "Property 'topic' was found to be set to '{given}', but was expected to be a topic of '{domain}'."
            ),
        )
    };
    let (_, rest) = given
        .split_at_checked(domain.len())
        .filter(|(prefix, _)| prefix.eq_ignore_ascii_case(domain))
        .ok_or_else(foreign)?;
    let (word, name) = rest
        .strip_prefix('/')
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(malformed)?;
    let well_formed =
        word.eq_ignore_ascii_case("topics") && !name.is_empty() && !name.contains('/');
    well_formed.then_some(name).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/domains/d";
    const WORDS: Words = Words("EventGridEvent");

    fn topic(given: Option<&str>) -> Result<Arc<str>, PublishRefusal> {
        Route::Domain(DOMAIN.into()).topic(given, WORDS)
    }

    #[test]
    fn section_2_8_a_name_and_an_id_lead_to_the_same_topic() {
        let full = format!("{DOMAIN}/topics/foo");
        assert_eq!(&*topic(Some("foo")).unwrap(), full);
        assert_eq!(&*topic(Some(&full)).unwrap(), full);
        let other_case = format!("{}/Topics/foo", DOMAIN.to_lowercase());
        assert_eq!(&*topic(Some(&other_case)).unwrap(), full);
    }

    #[test]
    fn section_2_8_what_names_no_topic_of_the_domain_is_refused() {
        let table = [
            (
                None,
                400,
                "This resource is configured for 'EventGridEvent' schema and requires 'topic' property to be set.",
            ),
            (
                Some(""),
                400,
                "This resource is configured for 'EventGridEvent' schema and requires 'topic' property to be set.",
            ),
            (
                Some("https://example.com/x"),
                400,
                "Required property 'topic' needs to either be a full resource id or should be just the name of the domain topic. Found: https://example.com/x",
            ),
            (
                Some("a/b"),
                400,
                "Required property 'topic' needs to either",
            ),
            (
                Some("/subscriptions/other"),
                401,
                "Property 'topic' was found to be set to '/subscriptions/other'",
            ),
        ];
        for (given, status, message) in table {
            let refusal = topic(given).unwrap_err();
            assert_eq!(refusal.status.as_u16(), status, "{given:?}");
            assert!(refusal.message.starts_with(message), "{}", refusal.message);
        }
        for rest in ["", "/", "/topics", "/topics/", "/topics/a/b", "/other/a"] {
            let refusal = topic(Some(&format!("{DOMAIN}{rest}"))).unwrap_err();
            assert_eq!(refusal.status.as_u16(), 400, "{rest}");
        }
        let longer = topic(Some(&format!("{DOMAIN}2/topics/a"))).unwrap_err();
        assert_eq!(longer.status.as_u16(), 400);
    }

    #[test]
    fn section_1_1_a_topic_may_be_named_where_it_is_the_right_one() {
        let route = Route::Topic("/own".into());
        for given in [None, Some("/own"), Some("/OWN")] {
            assert_eq!(&*route.topic(given, WORDS).unwrap(), "/own");
        }
        assert_eq!(route.topic(Some("/x"), WORDS).unwrap_err().status, 401);
    }
}
