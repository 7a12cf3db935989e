//! The file, read: TOML into a list of resources, each with what is said of it.
//!
//! Promise: every name that is not known is reported with its line and the nearest that is; nothing is ignored.
//! Not here: what the names are (`names`), whether values are right (the server).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::{ATTRIBUTES, DEAD_LETTER, ENDPOINT, ENDPOINT_TYPE, Kind};
use super::{endpoint, group_id};
use crate::nearest::nearest;

/// One resource, and what the file says of it.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The path that it is managed by.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The id of the resource that it lives in; empty for a group.
    pub parent: String,
    /// Its table's name in the file.
    pub label: String,
    /// The line that its table begins in.
    pub line: usize,
    /// What is said, by the paths of [`super::names`].
    pub(super) said: Said,
}

pub(super) type Said = BTreeMap<&'static str, Value>;

impl Entry {
    /// What is said of a property, if it is a text.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.said.get(path)?.as_str()
    }
}

/// A file's resources, parents before what lives in them.
#[derive(Debug)]
pub struct Document {
    /// The resources.
    pub entries: Vec<Entry>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.told())]
pub struct BadDocument {
    file: String,
    /// Lines, and what is wrong in them.
    problems: Vec<(usize, String)>,
}

impl BadDocument {
    fn told(&self) -> String {
        let mut text = String::new();
        for (line, problem) in &self.problems {
            let _ = writeln!(text, "{}:{line}: {problem}", self.file);
        }
        text.trim_end().to_owned()
    }
}

impl Document {
    /// Reads a file's text; `file` is its name.
    ///
    /// # Errors
    /// It is not TOML, or has names that are not known.
    pub fn read(file: &str, text: &str) -> Result<Self, BadDocument> {
        let lines = Lines::of(text);
        let bad = |problems| BadDocument {
            file: file.to_owned(),
            problems,
        };
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| lines.at(span.start));
            bad(vec![(line, error.message().to_owned())])
        })?;
        let mut reader = Reader {
            lines,
            problems: Vec::new(),
            entries: Vec::new(),
        };
        reader.root(table.get_ref());
        reader.refuse_twins();
        if !reader.problems.is_empty() {
            reader.problems.sort();
            return Err(bad(reader.problems));
        }
        let mut entries = reader.entries;
        // Resource groups come first, event subscriptions last.
        entries.sort_by_key(|entry| entry.kind);
        Ok(Self { entries })
    }
}

/// Where lines end.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(memchr::memchr_iter(b'\n', text.as_bytes()).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

/// Where a resource stands: its id, and its table's name.
struct Place {
    id: String,
    name: String,
    parent: String,
    label: String,
    line: usize,
}

struct Reader {
    lines: Lines,
    problems: Vec<(usize, String)>,
    entries: Vec<Entry>,
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Given<'a> = Spanned<DeValue<'a>>;

const GROUP_NAME: &str = "resourceGroup";
const GROUPS: &str = "resourceGroups";

impl Reader {
    fn root(&mut self, table: &DeTable<'_>) {
        let named = table.iter().find(|(key, _)| key.get_ref() == GROUP_NAME);
        let home = match named.map(|(key, value)| (key, value.get_ref().as_str())) {
            None => "gridpost".to_owned(),
            Some((_, Some(name))) => name.to_owned(),
            Some((key, None)) => {
                self.refuse(
                    key,
                    format!("`{GROUP_NAME}` is the name of a resource group"),
                );
                return;
            }
        };
        let groups = table.iter().find(|(key, _)| key.get_ref() == GROUPS);
        self.group(&home, String::new(), 1, table);
        if let Some((key, value)) = groups {
            for (name, table, line) in self.tables(key, value) {
                let label = format!("{GROUPS}.{}", bare(&name));
                self.group(&name, label, line, table);
            }
        }
    }

    fn group(&mut self, name: &str, label: String, line: usize, table: &DeTable<'_>) {
        let id = group_id(name);
        let place = Place {
            id,
            name: name.to_owned(),
            parent: String::new(),
            label,
            line,
        };
        self.resource(Kind::Group, place, table);
    }

    fn resource(&mut self, kind: Kind, place: Place, table: &DeTable<'_>) {
        let mut said = Said::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let is_root = kind == Kind::Group && place.label.is_empty();
            if is_root && (name == GROUP_NAME || name == GROUPS) {
                continue;
            }
            match kind.children().iter().find(|(child, _)| *child == name) {
                Some((_, child)) => self.children(*child, &place, kind, key, value),
                None => self.property(kind, &mut said, "", key, value),
            }
        }
        if let Err(problem) = expand(&mut said) {
            self.problems.push((place.line, problem));
        }
        let Place {
            id,
            name,
            parent,
            label,
            line,
        } = place;
        let label = if label.is_empty() {
            format!("{GROUP_NAME} {name}")
        } else {
            label
        };
        self.entries.push(Entry {
            kind,
            id,
            name,
            parent,
            label,
            line,
            said,
        });
    }

    fn children(
        &mut self,
        child: Kind,
        place: &Place,
        above: Kind,
        key: &Key<'_>,
        value: &Given<'_>,
    ) {
        for (name, table, line) in self.tables(key, value) {
            let word = key.get_ref();
            let dot = if place.label.is_empty() { "" } else { "." };
            let child_place = Place {
                id: format!("{}/{}{name}", place.id, between(above, child, word)),
                parent: place.id.clone(),
                label: format!("{}{dot}{word}.{}", place.label, bare(&name)),
                name,
                line,
            };
            self.resource(child, child_place, table);
        }
    }

    /// The tables inside a table.
    fn tables<'a, 'b>(
        &mut self,
        key: &Key<'_>,
        value: &'a Given<'b>,
    ) -> Vec<(String, &'a DeTable<'b>, usize)> {
        let Some(table) = value.get_ref().as_table() else {
            self.refuse(
                key,
                format!("`{0}` holds tables: [{0}.name]", key.get_ref()),
            );
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, value) in table {
            match value.get_ref().as_table() {
                // It would be a path to something else.
                Some(_) if name.get_ref().contains(['/', '\\']) => {
                    let problem = format!("`{}`: a name has no slash in it", name.get_ref());
                    self.refuse(name, problem);
                }
                Some(inner) => found.push((
                    name.get_ref().to_string(),
                    inner,
                    self.lines.at(name.span().start),
                )),
                None => self.refuse(
                    name,
                    format!(
                        "`{}` stands where the name of one of the {} belongs",
                        name.get_ref(),
                        key.get_ref()
                    ),
                ),
            }
        }
        found
    }

    fn property(
        &mut self,
        kind: Kind,
        said: &mut Said,
        above: &str,
        key: &Key<'_>,
        value: &Given<'_>,
    ) {
        let name = key.get_ref().as_ref();
        let path = format!("{above}{name}");
        let inner = value.get_ref().as_table();
        if let Some(form) = kind
            .forms()
            .iter()
            .find(|form| above.is_empty() && **form == name)
        {
            self.say(said, form, key, value);
        } else if let Some(field) = kind
            .field(&path)
            .filter(|field| above.is_empty() || field.path == path)
        {
            self.check_inside(field.path, value);
            self.say(said, field.path, key, value);
        } else if let (true, "properties", Some(inner)) = (above.is_empty(), name, inner) {
            // A body as Resource Manager has it may be pasted whole.
            for (key, value) in inner {
                self.property(kind, said, "", key, value);
            }
        } else if kind
            .fields()
            .iter()
            .any(|field| inside(field.path, &path).is_some())
        {
            let Some(inner) = inner else {
                return self.refuse(key, format!("`{path}` is a table"));
            };
            for (key, value) in inner {
                self.property(kind, said, &format!("{path}."), key, value);
            }
        } else {
            self.unknown(key, &known(kind, above));
        }
    }

    fn say(&mut self, said: &mut Said, path: &'static str, key: &Key<'_>, value: &Given<'_>) {
        match json_of(value.get_ref()) {
            Err(problem) => self.refuse(key, problem),
            Ok(value) => {
                if said.insert(path, normal(path, value)).is_some() {
                    self.refuse(key, format!("`{}` is said twice", key.get_ref()));
                }
            }
        }
    }

    /// Names inside lists of tables, which a body would take without a word.
    fn check_inside(&mut self, path: &str, value: &Given<'_>) {
        let Some((_, names)) = INSIDE.iter().find(|(known, _)| *known == path) else {
            return;
        };
        for one in value
            .get_ref()
            .as_array()
            .into_iter()
            .flat_map(|all| all.iter())
        {
            for (key, value) in one.get_ref().as_table().into_iter().flatten() {
                if !names.contains(&key.get_ref().as_ref()) {
                    self.unknown(key, names);
                } else if let ("properties", Some(inner)) =
                    (key.get_ref().as_ref(), value.get_ref().as_table())
                {
                    for (key, _) in inner {
                        if !MAPPING.contains(&key.get_ref().as_ref()) {
                            self.unknown(key, &MAPPING);
                        }
                    }
                }
            }
        }
    }

    fn unknown(&mut self, key: &Key<'_>, known: &[&str]) {
        let name = key.get_ref();
        let advice = match nearest(name, known.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("known are {}", known.join(", ")),
        };
        self.refuse(key, format!("`{name}` is not known here; {advice}"));
    }

    fn refuse(&mut self, key: &Key<'_>, problem: String) {
        self.problems
            .push((self.lines.at(key.span().start), problem));
    }

    /// Refuses a resource that stands in the file twice: names do not differ by case, and a system topic has the event
    /// subscriptions of its source.
    fn refuse_twins(&mut self) {
        let sources: BTreeMap<String, String> = self
            .entries
            .iter()
            .filter_map(|entry| {
                Some((
                    entry.id.to_ascii_lowercase(),
                    entry.text("source")?.to_owned(),
                ))
            })
            .collect();
        let mut seen = BTreeMap::new();
        for entry in &self.entries {
            let mut identity = entry.id.to_ascii_lowercase();
            if entry.kind == Kind::Subscription {
                let parent = sources
                    .get(&entry.parent.to_ascii_lowercase())
                    .unwrap_or(&entry.parent);
                identity = identity_of(parent, &entry.name);
            }
            if let Some(before) = seen.insert(identity, entry.line) {
                let problem = format!(
                    "`{}` is the same resource as the one in line {before}",
                    entry.label
                );
                self.problems.push((entry.line, problem));
            }
        }
    }
}

/// What an event subscription is known by, whichever way its path goes.
pub(super) fn identity_of(source: &str, name: &str) -> String {
    format!("{source}|{name}").to_ascii_lowercase()
}

/// What stands between the id of a resource and the name of one that lives in it.
fn between(above: Kind, child: Kind, word: &str) -> String {
    match (above, child) {
        (Kind::Group, Kind::Communication | Kind::EmailService) => {
            format!("providers/Microsoft.Communication/{word}/")
        }
        (Kind::Group, _) => format!("providers/Microsoft.EventGrid/{word}/"),
        (Kind::SystemTopic, _) => format!("{word}/"),
        (_, Kind::Subscription) => format!("providers/Microsoft.EventGrid/{word}/"),
        _ => format!("{word}/"),
    }
}

const MAPPING: [&str; 3] = ["value", "isSecret", "sourceField"];

/// What the entries of some lists consist of.
const INSIDE: [(&str, &[&str]); 3] = [
    (
        "filter.advancedFilters",
        &["operatorType", "key", "value", "values"],
    ),
    (ATTRIBUTES, &["name", "type", "properties"]),
    ("inboundIpRules", &["ipMask", "action"]),
];

/// What may stand there: the next parts of paths, and at the top short names and what lives there.
fn known(kind: Kind, above: &str) -> Vec<&'static str> {
    let fields = kind.fields().iter();
    let next = |path: &'static str| {
        path.strip_prefix(above)
            .and_then(|rest| rest.split('.').next())
    };
    let mut names: Vec<&str> = fields
        .clone()
        .filter_map(|field| next(field.path))
        .collect();
    if above.is_empty() {
        names.extend(
            fields
                .map(super::names::Field::short)
                .filter(|short| !short.contains('.')),
        );
        names.extend(kind.children().iter().map(|(name, _)| *name));
        names.extend(kind.forms());
        if kind == Kind::Group {
            names.extend([GROUP_NAME, GROUPS]);
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// What follows `above` in a path below it.
fn inside<'a>(path: &'a str, above: &str) -> Option<&'a str> {
    path.strip_prefix(above)?.strip_prefix('.')
}

/// Puts the properties in the place of the texts that stand for them.
fn expand(said: &mut Said) -> Result<(), String> {
    let mut parts = Vec::new();
    if let Some(given) = said.remove(ENDPOINT) {
        let kind = said
            .get(ENDPOINT_TYPE)
            .and_then(Value::as_str)
            .unwrap_or("WebHook");
        parts.extend(endpoint::destination(
            kind,
            given.as_str().ok_or("`endpoint` is a text")?,
        )?);
    }
    if let Some(given) = said.remove(DEAD_LETTER) {
        parts.extend(endpoint::dead_letter(
            given.as_str().ok_or("`deadLetterEndpoint` is a text")?,
        )?);
    }
    for (path, value) in parts {
        if said.insert(path, value).is_some() {
            return Err(format!("`{path}` is said twice"));
        }
    }
    Ok(())
}

/// A value as the server shows it, where it may be written in more than one way.
fn normal(path: &str, value: Value) -> Value {
    match path {
        "filter.includedEventTypes" if value == json!(["All"]) => Value::Null,
        // A day is its beginning.
        "expirationTimeUtc" => match value.as_str() {
            Some(day) if day.len() == 10 => json!(format!("{day}T00:00:00Z")),
            _ => value,
        },
        _ => value,
    }
}

fn json_of(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => {
            let read = i64::from_str_radix(number.as_str(), number.radix());
            json!(read.map_err(|_| format!("{number} is too large"))?)
        }
        DeValue::Float(number) => {
            let read: Option<f64> = number
                .as_str()
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite());
            json!(read.ok_or_else(|| format!("{number} is not a number that can be sent"))?)
        }
        DeValue::Boolean(value) => json!(value),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Array(all) => all
            .iter()
            .map(|one| json_of(one.get_ref()))
            .collect::<Result<_, _>>()?,
        DeValue::Table(table) => {
            let read = |(key, value): (&Key<'_>, &Given<'_>)| {
                Ok((key.get_ref().to_string(), json_of(value.get_ref())?))
            };
            Value::Object(
                table
                    .iter()
                    .map(read)
                    .collect::<Result<Map<_, _>, String>>()?,
            )
        }
    })
}

/// A name as it stands in the name of a table.
pub(super) fn bare(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(plain) {
        return name.to_owned();
    }
    toml::Value::from(name).to_string()
}
