//! The spellings of earlier releases, so that an old file is answered with the new one.

use serde::Deserialize;
use toml::{Table, Value};

use super::{RunConfig, merge, message};
use crate::preset::Preset;

/// Architectures that are a preset of `coupling` now, with that preset.
const RETIRED: [(&str, &str); 2] = [("real_nvp", "real-nvp"), ("nsf_coupling", "nsf-coupling")];

/// Settings of an architecture by their old and their new name.
const RENAMED: [(&str, &str); 2] = [("fast", "formula"), ("steps", "layers")];

/// How to write today what `over` says over the valid config `under`; none if it has no old spelling.
pub(crate) fn advice(under: &Table, over: &Table) -> Option<String> {
    if let Some(advice) =
        retired(over).or_else(|| renamed(under, over)).or_else(|| moved(under, over))
    {
        return Some(advice);
    }
    let mut new = over.clone();
    let mut found = Vec::new();
    rewrite(under, &[], &mut new, &mut found);
    if found.is_empty() {
        return None;
    }
    let mut advice = found.join("; ");
    let mut config = under.clone();
    merge(&mut config, new);
    if let Err(error) = RunConfig::deserialize(config) {
        advice = format!("{advice}; what is left: {}", message(&error));
    }
    Some(advice)
}

fn retired(over: &Table) -> Option<String> {
    let flow = over.get("flow")?.as_table()?;
    let kind = flow.get("kind")?.as_str()?;
    let (_, name) = RETIRED.iter().find(|(old, _)| *old == kind)?;
    let preset = Preset::named(Some(name)).ok()?;
    let base = Table::try_from(RunConfig::of(preset)).ok()?;
    let mut table = base.get("flow")?.clone();
    let transformer = table.get_mut("transformer")?.as_table_mut()?;
    for (key, value) in flow.iter().filter(|(key, _)| *key != "kind") {
        if transformer.contains_key(key) {
            let new = choice(&base, &["flow", "transformer", key], value);
            transformer.insert(key.clone(), new.unwrap_or_else(|| value.clone()));
        }
    }
    let transformer = inline(table.get("transformer")?);
    let mixing = if flow.get("linear").and_then(Value::as_bool) == Some(false) {
        "\"none\"".to_owned()
    } else {
        inline(table.get("mixing")?)
    };
    Some(format!(
        "flow: kind = \"{kind}\" is a preset now; leave kind out and write preset = \"{name}\" above \
         all tables, its settings being those of kind = \"coupling\": mixing = {mixing}, \
         transformer = {transformer}"
    ))
}

/// What Real NVP and NSF had as settings of their own, over the preset that still has their name.
fn moved(under: &Table, over: &Table) -> Option<String> {
    let (flow, below) = (over.get("flow")?.as_table()?, under.get("flow")?.as_table()?);
    let mixes = below.contains_key("mixing") && !below.contains_key("linear");
    if let (true, Some(linear)) = (mixes, flow.get("linear").and_then(Value::as_bool)) {
        let mixing = if linear { "lu" } else { "none" };
        return Some(format!("flow: linear is part of mixing now; write mixing = \"{mixing}\""));
    }
    let transformer = below.get("transformer")?.as_table()?;
    let lost = |key: &str| transformer.contains_key(key) && !below.contains_key(key);
    let (key, value) = flow.iter().find(|(key, _)| lost(key))?;
    let new = choice(under, &["flow", "transformer", key], value);
    let value = inline(new.as_ref().unwrap_or(value));
    Some(format!(
        "flow: {key} is a setting of the transformer now; write transformer.{key} = {value}"
    ))
}

fn renamed(under: &Table, over: &Table) -> Option<String> {
    let (flow, below) = (over.get("flow")?.as_table()?, under.get("flow")?.as_table()?);
    let named = |(old, new)| Some((old, new, flow.get(old)?));
    let (old, new, value) = RENAMED.into_iter().find_map(named)?;
    let applies = below.contains_key(new) && !below.contains_key(old);
    applies.then(|| format!("flow: {old} is called {new} now; write {new} = {}", inline(value)))
}

/// Rewrites every choice of `over`, the table at `path`, that is not written with `kind`; `base` is a
/// valid config.
fn rewrite(base: &Table, path: &[&str], over: &mut Table, found: &mut Vec<String>) {
    for (key, value) in over.iter_mut() {
        let path = [path, &[key]].concat();
        let new = match value {
            Value::Array(items) => elements(base, &path, items),
            _ => choice(base, &path, value),
        };
        if let Some(new) = new {
            let (place, written) = (path.join("."), inline(&new));
            found.push(format!("{place}: a choice is written with kind; write {key} = {written}"));
            *value = new;
        } else if let Value::Table(table) = value {
            let kind = table.get("kind").and_then(Value::as_str);
            let of_kind = kind.and_then(|kind| with_kind(base, &path, kind));
            rewrite(of_kind.as_ref().unwrap_or(base), &path, table, found);
        }
    }
}

/// The new spelling of a choice at `path`: where the config has a kind, and the value is a word or has
/// no kind but a key that is no setting.
fn choice(base: &Table, path: &[&str], value: &Value) -> Option<Value> {
    let below = at(base, path)?.as_table()?;
    let below = below.get("kind")?.as_str()?;
    let put = |value| put(base, path, value);
    let (kind, settings) = match value {
        Value::String(kind) => (kind, Table::new()),
        Value::Table(table) if !table.contains_key("kind") => {
            let known = names(below, put)?;
            let (kind, settings) = table.iter().find(|(key, _)| !known.contains(*key))?;
            match settings {
                Value::Table(settings) => (kind, settings.clone()),
                value => (kind, settings_of(kind, value, put)?),
            }
        }
        _ => return None,
    };
    let base = with_kind(base, path, kind);
    let mut new = tagged(kind, settings);
    for (key, value) in new.iter_mut().filter(|(key, _)| *key != "kind") {
        let inner = |base| choice(base, &[path, &[key]].concat(), value);
        if let Some(inner) = base.as_ref().and_then(inner) {
            *value = inner;
        }
    }
    Some(Value::Table(new))
}

/// The same for the elements of an array; there is none below that would say that they are choices, so
/// the config has to be valid with the new spelling.
fn elements(base: &Table, path: &[&str], items: &[Value]) -> Option<Value> {
    let mut changed = false;
    let one = |item: Value| put(base, path, Value::Array(vec![item]));
    let new = |item: &Value| {
        let (kind, settings) = match item {
            Value::String(kind) => (kind, Table::new()),
            Value::Table(table) if table.len() == 1 => {
                let (kind, value) = table.iter().next()?;
                (kind, settings_of(kind, value, one)?)
            }
            _ => return None,
        };
        let new = Value::Table(tagged(kind, settings));
        RunConfig::deserialize(one(new.clone())?).is_ok().then_some(new)
    };
    let items = items.iter().map(|item| {
        let new = new(item);
        changed |= new.is_some();
        new.unwrap_or_else(|| item.clone())
    });
    let items = Value::Array(items.collect());
    changed.then_some(items)
}

/// The settings that `kind = value` stood for; none if there is no such kind.
fn settings_of(kind: &str, value: &Value, put: impl Fn(Value) -> Option<Table>) -> Option<Table> {
    let names = names(kind, put)?;
    let one = |name: &str| Table::from_iter([(name.to_owned(), value.clone())]);
    match (names.as_slice(), value) {
        (names, _) if names.iter().any(|name| name == kind) => Some(one(kind)),
        ([name], _) => Some(one(name)),
        (names, Value::Array(values)) if names.len() == values.len() => {
            Some(names.iter().cloned().zip(values.iter().cloned()).collect())
        }
        _ => None,
    }
}

/// The settings of a kind at the place where `put` puts it, by what a config with an unknown one is
/// told; none if there is no such kind.
fn names(kind: &str, put: impl Fn(Value) -> Option<Table>) -> Option<Vec<String>> {
    let probe = tagged(kind, Table::from_iter([(String::new(), Value::Integer(0))]));
    let error = RunConfig::deserialize(put(Value::Table(probe))?).err()?.to_string();
    let (_, expected) = error.split_once("unknown field ``")?;
    let line = expected.lines().next().unwrap_or_default();
    Some(line.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

fn tagged(kind: &str, settings: Table) -> Table {
    let mut table = settings;
    table.insert("kind".to_owned(), Value::String(kind.to_owned()));
    table
}

/// The config with this kind at `path` and its settings at their defaults, if there are such.
fn with_kind(base: &Table, path: &[&str], kind: &str) -> Option<Table> {
    let same = at(base, path)?.get("kind").and_then(Value::as_str) == Some(kind);
    if same {
        return Some(base.clone());
    }
    let config = put(base, path, Value::Table(tagged(kind, Table::new())))?;
    Table::try_from(RunConfig::deserialize(config).ok()?).ok()
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (last, tables) = path.split_last()?;
    let mut table = table;
    for key in tables {
        table = table.get(*key)?.as_table()?;
    }
    table.get(*last)
}

/// The config with `value` at `path`.
fn put(base: &Table, path: &[&str], value: Value) -> Option<Table> {
    let (last, tables) = path.split_last()?;
    let mut whole = base.clone();
    let mut table = &mut whole;
    for key in tables {
        table = table.get_mut(*key)?.as_table_mut()?;
    }
    table.insert((*last).to_owned(), value);
    Some(whole)
}

/// A value on one line, `kind` first.
fn inline(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let (kind, settings): (Vec<_>, Vec<_>) =
                table.iter().partition(|(key, _)| *key == "kind");
            let entry = |(key, value)| format!("{key} = {}", inline(value));
            let entries: Vec<String> = kind.into_iter().chain(settings).map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Float(number) if *number != 0.0 && number.abs() < 1e-2 => format!("{number:e}"),
        value => value.to_string(),
    }
}
