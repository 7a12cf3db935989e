//! Variables of the environment that begin as settings do and are none.
//!
//! Promise: a slip of the pen keeps a server from starting. What others set for their own ends, such as a container's
//! address, does not.

use toml::{Table, Value};

use super::{ConfigError, PREFIX};
use crate::nearest::nearest;

/// Ours without being settings: the configuration file, and what `gridpost env` prints.
const OURS: [&str; 4] = ["CONFIG", "URL", "NUMBER", "RESOURCE_ID"];

/// Those of our own tests.
const TESTS: &str = "TEST_";

/// Refuses a variable that is nearly a setting; the others that are none are the answer.
pub(super) fn check(
    settings: &Table,
    named: &[&str],
    variables: impl Iterator<Item = String>,
) -> Result<Vec<String>, ConfigError> {
    let mut known = OURS.map(str::to_owned).to_vec();
    collect(settings, "", &mut known);
    let mut strangers = Vec::new();
    for variable in variables {
        let Some(name) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        let is_known = known.iter().any(|known| known == name)
            || named.contains(&variable.as_str())
            || name.starts_with(TESTS)
            || is_an_orchestrators(name);
        if is_known {
            continue;
        }
        match nearest(name, known.iter().map(String::as_str)) {
            Some(meant) => {
                return Err(ConfigError::UnknownVariable {
                    meant: format!("{PREFIX}{meant}"),
                    variable,
                });
            }
            None => strangers.push(variable),
        }
    }
    Ok(strangers)
}

fn collect(settings: &Table, above: &str, into: &mut Vec<String>) {
    for (name, value) in settings {
        let name = format!("{above}{}", name.to_ascii_uppercase());
        match value {
            Value::Table(section) => collect(section, &format!("{name}_"), into),
            _ => into.push(name),
        }
    }
}

/// What Kubernetes and Docker set in every container beside a service called gridpost.
fn is_an_orchestrators(name: &str) -> bool {
    let rest = name.strip_prefix("SERVICE_").unwrap_or(name);
    rest == "HOST" || rest == "PORT" || rest.starts_with("PORT_")
}

#[cfg(test)]
mod tests {
    use super::super::DEFAULTS;
    use super::*;

    fn checked(variables: &[&str]) -> Result<Vec<String>, ConfigError> {
        let settings: Table = DEFAULTS.parse().unwrap();
        let variables = variables.iter().map(|name| (*name).to_owned());
        check(&settings, &["GRIDPOST_PROFIL_KEY"], variables)
    }

    #[test]
    fn a_slip_of_the_pen_is_refused_with_the_name_that_was_meant() {
        for (slip, meant) in [
            ("GRIDPOST_LISTENR", "GRIDPOST_LISTEN"),
            (
                "GRIDPOST_LISTENER_MAX_CONECTIONS",
                "GRIDPOST_LISTENER_MAX_CONNECTIONS",
            ),
            ("GRIDPOST_PROFIL", "GRIDPOST_PROFILE"),
            ("GRIDPOST_LOG_FILTERS", "GRIDPOST_LOG_FILTER"),
        ] {
            let said = checked(&["PATH", slip]).unwrap_err().to_string();
            assert!(
                said.contains(slip) && said.contains(&format!("did you mean {meant}?")),
                "{said}"
            );
        }
    }

    #[test]
    fn what_is_known_or_not_ours_is_let_be() {
        let known = [
            "GRIDPOST_URL",
            "GRIDPOST_NUMBER",
            "GRIDPOST_RESOURCE_ID",
            "GRIDPOST_DATA",
            "GRIDPOST_CONFIG",
            "GRIDPOST_STORE_ACCEPT_DAMAGE",
            "GRIDPOST_TEST_PYTHON",
            "GRIDPOST_PORT",
            "GRIDPOST_PORT_8480_TCP_ADDR",
            "GRIDPOST_SERVICE_HOST",
            "GRIDPOST_SERVICE_PORT_HTTPS",
            "GRIDPOST_PROFIL_KEY",
            "LISTENR",
        ];
        assert_eq!(checked(&known).unwrap(), [""; 0]);
        assert_eq!(
            checked(&["GRIDPOST_IMAGE_TAG"]).unwrap(),
            ["GRIDPOST_IMAGE_TAG"]
        );
    }
}
