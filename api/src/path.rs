//! Paths, before they are routed.
//!
//! Promise: percent escapes are decoded, double slashes are one, a slash at the end is gone, and a surface's own words
//! are lower case. What the client really sent stays readable as [`RawTarget`], because signatures cover it.
//! Not here: what a path means (`arm`, each surface's routes), and the names in it, whose case is kept.
//! Source: reference management, finding 8.

use std::borrow::Cow;

use axum::extract::Request;
use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The request target as the client sent it, in the request's extensions.
#[derive(Clone, Debug)]
pub struct RawTarget(pub Uri);

/// The first segments of our surfaces, and how much of a path below them is words rather than names.
const WORDS: &[(&str, Below)] = &[
    ("_gridpost", Below::Names),
    ("adfs", Below::Names),
    ("eventsubscriptions", Below::Words),
    ("identities", Below::Names),
    ("livez", Below::Words),
    ("metadata", Below::Words),
    ("metrics", Below::Words),
    ("readyz", Below::Words),
    ("sms", Below::Words),
];

#[derive(Clone, Copy, PartialEq)]
enum Below {
    /// All segments are words of the surface.
    Words,
    /// Some segments are names; their case is kept.
    Names,
}

/// What must be escaped again so that a decoded path is a request target.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Puts the normal form of the path in place of what was sent.
pub fn normalise(mut request: Request) -> Request {
    let raw = request.uri().clone();
    if let Cow::Owned(path) = normal_form(raw.path()) {
        let encoded = escaped(&path);
        let target = match raw.query() {
            Some(query) => format!("{encoded}?{query}"),
            None => encoded,
        };
        let mut changed = raw.clone().into_parts();
        changed.path_and_query = PathAndQuery::try_from(target).ok();
        if changed.path_and_query.is_some()
            && let Ok(uri) = Uri::from_parts(changed)
        {
            *request.uri_mut() = uri;
        }
    }
    request.extensions_mut().insert(RawTarget(raw));
    request
}

/// A path as a request target has it; slashes stay.
pub fn escaped(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED).to_string()
}

/// The decoded form of a path that [`normalise`] has seen.
pub fn decoded(uri: &Uri) -> Cow<'_, str> {
    percent_decode_str(uri.path()).decode_utf8_lossy()
}

fn normal_form(raw: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(raw)
        .decode_utf8()
        .unwrap_or(Cow::Borrowed(raw));
    let mut segments: Vec<Cow<'_, str>> = decoded
        .split('/')
        .filter(|one| !one.is_empty())
        .map(Cow::Borrowed)
        .collect();
    lower_words(&mut segments);
    let path = format!("/{}", segments.join("/"));
    if path == raw {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(path)
    }
}

fn lower_words(segments: &mut [Cow<'_, str>]) {
    let Some(first) = segments.first() else {
        return;
    };
    let Some((_, below)) = WORDS
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(first))
    else {
        return;
    };
    let words = if *below == Below::Words {
        segments.len()
    } else {
        1
    };
    for segment in &mut segments[..words] {
        if segment.bytes().any(|b| b.is_ascii_uppercase()) {
            *segment = Cow::Owned(segment.to_ascii_lowercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn after(target: &str) -> String {
        let request = Request::builder().uri(target).body(Body::empty()).unwrap();
        normalise(request).uri().to_string()
    }

    #[test]
    fn finding_8_paths_are_brought_into_one_form() {
        let table = [
            ("/sms?api-version=1", "/sms?api-version=1"),
            ("/SMS/OptOuts:Add", "/sms/optouts:add"),
            ("//metadata/endpoints", "/metadata/endpoints"),
            ("/LIVEZ/", "/livez"),
            ("/_GridPost/v1/sinks/MySink", "/_gridpost/v1/sinks/MySink"),
            (
                "/subscriptions/S//resourceGroups/Rg/",
                "/subscriptions/S/resourceGroups/Rg",
            ),
            (
                "/%2Fsubscriptions%2FS/providers/X",
                "/subscriptions/S/providers/X",
            ),
            (
                "/subscriptions/a%20b%3Fc?d=%20e",
                "/subscriptions/a%20b%3Fc?d=%20e",
            ),
            ("/", "/"),
        ];
        for (sent, normal) in table {
            assert_eq!(after(sent), normal, "{sent}");
        }
    }

    #[test]
    fn what_was_sent_stays_readable() {
        let request = Request::builder()
            .uri("//SMS?x=%2F")
            .body(Body::empty())
            .unwrap();
        let request = normalise(request);
        assert_eq!(
            request.extensions().get::<RawTarget>().unwrap().0,
            "//SMS?x=%2F"
        );
    }

    #[test]
    fn an_escape_is_decoded_exactly_once() {
        let request = Request::builder()
            .uri("/subscriptions/a%252Fb")
            .body(Body::empty())
            .unwrap();
        let request = normalise(request);
        assert_eq!(decoded(request.uri()), "/subscriptions/a%2Fb");
    }

    #[test]
    fn a_path_that_is_not_text_is_left_alone() {
        assert_eq!(after("/sms/%ff"), "/sms/%ff");
    }
}
