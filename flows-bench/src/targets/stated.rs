//! A target as a config states it: its name, or a table of the parameters of a family.
//!
//! ```text
//! target = "funnel"
//! target = { funnel = { dim = 20, scale = 3.0 } }
//! ```

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Funnel, KnownTarget, ManyWell};

/// A name where all parameters are the defaults.
impl Serialize for KnownTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const ENUM: &str = "KnownTarget";
        match self {
            Self::Funnel(funnel) if *funnel != Funnel::DEFAULT => {
                serializer.serialize_newtype_variant(ENUM, 0, self.name(), funnel)
            }
            Self::ManyWell(wells) if *wells != ManyWell::DEFAULT => {
                serializer.serialize_newtype_variant(ENUM, 1, self.name(), wells)
            }
            _ => serializer.serialize_str(self.name()),
        }
    }
}

impl<'de> Deserialize<'de> for KnownTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Stated)
    }
}

struct Stated;

impl<'de> Visitor<'de> for Stated {
    type Value = KnownTarget;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the name of a target, or a table such as { funnel = { dim = 10, scale = 3.0 } }",
        )
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<KnownTarget, E> {
        name.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KnownTarget, A::Error> {
        let Some(family) = map.next_key::<String>()? else {
            return Err(A::Error::custom("expected the name of a target, got an empty table"));
        };
        let target = match family.as_str() {
            "funnel" => KnownTarget::Funnel(map.next_value()?),
            "many-well" => KnownTarget::ManyWell(map.next_value()?),
            other => {
                let message = format!(
                    "no target with parameters is called {other:?}; there are funnel, many-well"
                );
                return Err(A::Error::custom(message));
            }
        };
        match map.next_key::<String>()? {
            None => Ok(target),
            Some(more) => {
                Err(A::Error::custom(format!("expected one target, got {family:?} and {more:?}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<KnownTarget, String> {
        #[derive(Deserialize)]
        struct Config {
            target: KnownTarget,
        }
        toml::from_str(text).map(|config: Config| config.target).map_err(|error| error.to_string())
    }

    #[test]
    fn names_mean_defaults_and_tables_set_parameters() {
        for (text, expected) in [
            ("target = 'u3'", KnownTarget::U3),
            ("target = 'funnel'", KnownTarget::Funnel(Funnel::DEFAULT)),
            ("target = { funnel = {} }", KnownTarget::Funnel(Funnel::DEFAULT)),
            (
                "target = { funnel = { dim = 20 } }",
                KnownTarget::Funnel(Funnel::new(20, 3.0).unwrap()),
            ),
            ("[target.funnel]\nscale = 2", KnownTarget::Funnel(Funnel::new(10, 2.0).unwrap())),
            ("target.many-well.pairs = 16", KnownTarget::ManyWell(ManyWell::new(16).unwrap())),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused_in_a_sentence() {
        for (text, expected) in [
            ("target = 'u5'", "unknown target \"u5\"; there are u1, u2"),
            ("target = { u1 = {} }", "no target with parameters is called \"u1\""),
            ("target = {}", "expected the name of a target, got an empty table"),
            (
                "target = { funnel = {}, many-well = {} }",
                "expected one target, got \"funnel\" and \"many-well\"",
            ),
            (
                "target = { funnel = { pairs = 3 } }",
                "unknown field `pairs`, expected `dim` or `scale`",
            ),
            ("target = { funnel = { dim = 1 } }", "dim of funnel must be at least 2, got 1"),
            (
                "target = { funnel = { scale = 0.0 } }",
                "scale of funnel must be positive and finite, got 0",
            ),
            (
                "target = { funnel = { scale = nan } }",
                "scale of funnel must be positive and finite",
            ),
            (
                "target = { many-well = { pairs = 0 } }",
                "pairs of many-well must be at least 1, got 0",
            ),
            ("target = 3", "expected the name of a target, or a table such as"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let others = [
            KnownTarget::Funnel(Funnel::new(2, 0.1).unwrap()),
            KnownTarget::ManyWell(ManyWell::new(16).unwrap()),
        ];
        for target in KnownTarget::ALL.into_iter().chain(others) {
            let json = serde_json::to_string(&target).unwrap();
            assert_eq!(serde_json::from_str::<KnownTarget>(&json).unwrap(), target, "{json}");
            let text = toml::Value::try_from(target).unwrap();
            assert_eq!(KnownTarget::deserialize(text).unwrap(), target);
        }
        let json = |target| serde_json::to_string(&target).unwrap();
        assert_eq!(json(KnownTarget::ALL[6]), "\"funnel\"");
        assert_eq!(json(others[1]), r#"{"many-well":{"pairs":16}}"#);
    }
}
