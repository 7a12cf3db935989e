//! How surfaces treat versions and fields they do not know.
//!
//! Promise: any `api-version` is accepted, and a missing one is refused where Resource Manager refuses it. Unknown
//! fields of management bodies are ignored; unknown fields of events are refused (the schema is not extensible).

/// The value of `api-version` in a query string, its name compared without case.
pub fn api_version(query: Option<&str>) -> Option<&str> {
    query?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, value)| name.eq_ignore_ascii_case("api-version") && !value.is_empty())
        .map(|(_, value)| value)
}
