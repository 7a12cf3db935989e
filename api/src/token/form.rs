//! What clients send to the token endpoint: a form.
//!
//! Source: reference management 2.1, 2.3.

use gridpost_model::Secret;

/// What a client sends to be given a token.
#[derive(Default)]
pub(super) struct Form {
    pub(super) grant_type: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<Secret>,
    pub(super) client_assertion: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) refresh_token: Option<Secret>,
    pub(super) device_code: Option<String>,
    pub(super) user_code: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) resource: Option<String>,
}

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            let secret = match name.as_ref() {
                "client_secret" => Some(&mut form.client_secret),
                "password" => Some(&mut form.password),
                "refresh_token" => Some(&mut form.refresh_token),
                _ => None,
            };
            if let Some(secret) = secret {
                *secret = Some(Secret::new(value));
                continue;
            }
            let field = match name.as_ref() {
                "grant_type" => &mut form.grant_type,
                "client_id" => &mut form.client_id,
                "client_assertion" => &mut form.client_assertion,
                "username" => &mut form.username,
                "device_code" => &mut form.device_code,
                "user_code" => &mut form.user_code,
                "scope" => &mut form.scope,
                "resource" => &mut form.resource,
                _ => continue,
            };
            *field = Some(value.into_owned());
        }
        form
    }

    /// The audience: the scope without `/.default`, or the `resource` of older clients.
    pub(super) fn audience(&self) -> Option<&str> {
        let scope = self
            .scope
            .as_deref()
            .and_then(|scope| scope.split(' ').next());
        scope
            .map(|scope| scope.strip_suffix("/.default").unwrap_or(scope))
            .or(self.resource.as_deref())
            .filter(|audience| !audience.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_are_read_in_every_spelling_of_management_2_1() {
        let table = [
            ("scope=https%3A%2F%2Fh%3A1%2F.default", Some("https://h:1")),
            (
                "scope=https://management.core.windows.net//.default",
                Some("https://management.core.windows.net/"),
            ),
            (
                "scope=https://h/.default+offline_access+openid",
                Some("https://h"),
            ),
            ("resource=https://h/", Some("https://h/")),
            ("", None),
        ];
        for (form, audience) in table {
            assert_eq!(Form::parse(form.as_bytes()).audience(), audience, "{form}");
        }
    }
}
