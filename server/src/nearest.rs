//! The name that was meant.
//!
//! Promise: a name is only proposed when few of its letters differ.

/// The known name that is the most like an unknown one, unless none is. Case does not count.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = name.to_ascii_lowercase();
    let (distance, one) = known
        .map(|one| {
            (
                strsim::osa_distance(&folded, &one.to_ascii_lowercase()),
                one,
            )
        })
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= one.len().max(3) / 3).then_some(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let known = || ["includedEventTypes", "maxDeliveryAttempts", "labels"].into_iter();
        assert_eq!(
            nearest("includedEventType", known()),
            Some("includedEventTypes")
        );
        assert_eq!(
            nearest("max_delivery_attempts", known()),
            Some("maxDeliveryAttempts")
        );
        assert_eq!(nearest("colour", known()), None);
        assert_eq!(nearest("colour", std::iter::empty()), None);
    }
}
