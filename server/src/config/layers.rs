//! Laying settings over settings: a file, then the environment.
//!
//! Promise: only what the defaults name can be set, and each setting is read as its default is.
//! Not here: what the settings are (`config`).

use toml::{Table, Value};

use super::ConfigError;

/// Puts the settings of a file over those known so far. What is not known is refused.
pub(super) fn overlay(
    known: &mut Table,
    own: Table,
    origin: &str,
    above: &str,
) -> Result<(), ConfigError> {
    for (name, value) in own {
        let setting = format!("{above}{name}");
        match (known.get_mut(&name), value) {
            (Some(Value::Table(section)), Value::Table(own)) => {
                overlay(section, own, origin, &format!("{setting}."))?;
            }
            (Some(Value::Table(_)), _) | (None, _) => {
                return Err(ConfigError::Unknown {
                    setting,
                    origin: origin.to_owned(),
                });
            }
            (Some(place), value) => *place = value,
        }
    }
    Ok(())
}

/// Puts the environment over the settings known so far, each read as its default is.
pub(super) fn from_environment(
    known: &mut Table,
    prefix: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    for (name, value) in known.iter_mut() {
        let variable = format!("{prefix}{}", name.to_ascii_uppercase());
        if let Value::Table(section) = value {
            from_environment(section, &format!("{variable}_"), environment)?;
        } else if let Some(text) = environment(&variable) {
            *value = alike(value, &text).ok_or_else(|| {
                ConfigError::BadValue(format!(
                    "{variable} cannot be {text:?}; its default is {value}"
                ))
            })?;
        }
    }
    Ok(())
}

fn alike(default: &Value, text: &str) -> Option<Value> {
    match default {
        Value::Integer(_) => text.parse().ok().map(Value::Integer),
        Value::Float(_) => text.parse().ok().map(Value::Float),
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        Value::Array(_) => Some(Value::Array(
            text.split(',')
                .map(|part| Value::String(part.trim().into()))
                .collect(),
        )),
        _ => Some(Value::String(text.to_owned())),
    }
}
