//! A rule of `--sample`.

use std::fmt;
use std::str::FromStr;

use wildmatch::WildMatch;

/// Which requests are traced: `service=GLOB,path=GLOB,ratio=R` or `…,rate=N/s`.
///
/// In a glob `*` stands for any text, slashes included, and `?` for one character. A rule without `service=` or
/// `path=` is for all of them; one with `path=` is not for a request whose path is not known.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingRule {
    text: String,
    service: Option<WildMatch>,
    path: Option<WildMatch>,
    pub(super) quota: Quota,
    ignore_parent: bool,
}

/// How many of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quota {
    /// A part, from 0 to 1, chosen by the trace id.
    Ratio(f64),
    /// So many in a second.
    PerSecond(f64),
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SamplingRuleError {
    /// A part that is not `key=value`, or has no value.
    #[error("{0:?} is not KEY=VALUE; a rule is such as path=/api/*,ratio=0.1")]
    NotKeyValue(String),
    /// An unknown key.
    #[error("unknown key {0:?}; there are service, path, ratio, rate and parent")]
    UnknownKey(String),
    /// A key that is there twice.
    #[error("{0} is there twice")]
    Twice(String),
    /// A ratio that is not a number from 0 to 1.
    #[error("ratio={0}: not a number from 0 to 1")]
    Ratio(String),
    /// A rate that is not a positive number with `/s`.
    #[error("rate={0}: write it as a positive number of traces in a second, such as 10/s or 0.5/s; none is ratio=0")]
    Rate(String),
    /// `parent=` with an unknown word.
    #[error("parent={0}: expected respect or ignore")]
    Parent(String),
    /// Neither `ratio=` nor `rate=`.
    #[error("ratio= or rate= is missing")]
    NoQuota,
    /// Both `ratio=` and `rate=`.
    #[error("either ratio= or rate=, not both")]
    TwoQuotas,
}

impl FromStr for SamplingRule {
    type Err = SamplingRuleError;

    fn from_str(text: &str) -> Result<Self, SamplingRuleError> {
        use SamplingRuleError as Error;
        let [mut service, mut path, mut ratio, mut rate, mut parent] = [None; 5];
        for part in text.split(',') {
            let pair = part.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
            let (key, value) =
                pair.filter(|(_, value)| !value.is_empty()).ok_or_else(|| Error::NotKeyValue(part.to_owned()))?;
            let slot = match key {
                "service" => &mut service,
                "path" => &mut path,
                "ratio" => &mut ratio,
                "rate" => &mut rate,
                "parent" => &mut parent,
                _ => return Err(Error::UnknownKey(key.to_owned())),
            };
            if slot.replace(value).is_some() {
                return Err(Error::Twice(key.to_owned()));
            }
        }
        let quota = match (ratio, rate) {
            (None, None) => return Err(Error::NoQuota),
            (Some(_), Some(_)) => return Err(Error::TwoQuotas),
            (Some(ratio), None) => Quota::Ratio(parse_ratio(ratio).ok_or_else(|| Error::Ratio(ratio.to_owned()))?),
            (None, Some(rate)) => Quota::PerSecond(parse_rate(rate).ok_or_else(|| Error::Rate(rate.to_owned()))?),
        };
        let ignore_parent = match parent {
            None | Some("respect") => false,
            Some("ignore") => true,
            Some(other) => return Err(Error::Parent(other.to_owned())),
        };
        let glob = |glob: Option<&str>| glob.map(WildMatch::new);
        Ok(SamplingRule { text: text.to_owned(), service: glob(service), path: glob(path), quota, ignore_parent })
    }
}

pub(super) fn parse_ratio(text: &str) -> Option<f64> {
    text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
}

fn parse_rate(text: &str) -> Option<f64> {
    text.strip_suffix("/s")?.trim().parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
}

impl fmt::Display for SamplingRule {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl SamplingRule {
    pub(super) fn needs_path(&self) -> bool {
        self.path.is_some()
    }

    /// Does it apply to requests of callers whose decision is respected otherwise?
    pub(super) fn ignores_parent(&self) -> bool {
        self.ignore_parent
    }

    pub(super) fn matches(&self, service: &str, path: Option<&str>) -> bool {
        self.service.as_ref().is_none_or(|glob| glob.matches(service))
            && self.path.as_ref().is_none_or(|glob| path.is_some_and(|path| glob.matches(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> SamplingRule {
        text.parse().unwrap()
    }

    #[test]
    fn globs() {
        let both = rule("service=shop-?,path=/api/*/items,ratio=1");
        assert!(both.matches("shop-1", Some("/api/v1/a/items")), "a star takes slashes too");
        assert!(!both.matches("shop-12", Some("/api/v1/items")));
        assert!(!both.matches("shop-1", Some("/api/items")));
        assert!(!both.matches("shop-1", None));
        assert!(rule("path=*,ratio=1").matches("any", Some("")));
        assert!(!rule("path=*,ratio=1").matches("any", None), "unknown");
        assert!(rule("ratio=1").matches("any", None));
        assert!(rule("path=/[a],ratio=1").matches("any", Some("/[a]")), "nothing else is special");
        assert!(rule("path=/a=b,ratio=1").matches("any", Some("/a=b")));
    }

    #[test]
    fn quotas() {
        assert_eq!(rule("ratio=0.25").quota, Quota::Ratio(0.25));
        assert_eq!(rule(" rate = 10/s , path = /x ").quota, Quota::PerSecond(10.0));
        assert_eq!(rule("rate=0.5/s").quota, Quota::PerSecond(0.5));
        assert!(rule("ratio=0,parent=ignore").ignores_parent());
        assert!(!rule("ratio=0,parent=respect").ignores_parent());
        assert_eq!(rule("path=/x,ratio=0").to_string(), "path=/x,ratio=0");
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, expected) in [
            ("", "\"\" is not KEY=VALUE"),
            ("ratio", "\"ratio\" is not KEY=VALUE"),
            ("ratio=", "\"ratio=\" is not KEY=VALUE"),
            ("path=/a,,ratio=1", "\"\" is not KEY=VALUE"),
            ("host=a,ratio=1", "unknown key \"host\"; there are service"),
            ("path=/a,path=/b,ratio=1", "path is there twice"),
            ("path=/a", "ratio= or rate= is missing"),
            ("ratio=1,rate=1/s", "either ratio= or rate=, not both"),
            ("ratio=1.5", "ratio=1.5: not a number from 0 to 1"),
            ("ratio=NaN", "ratio=NaN: not a number from 0 to 1"),
            ("rate=10", "rate=10: write it as"),
            ("rate=0/s", "none is ratio=0"),
            ("rate=-1/s", "rate=-1/s: write it as"),
            ("rate=inf/s", "rate=inf/s: write it as"),
            ("rate=10/m", "rate=10/m: write it as"),
            ("ratio=1,parent=yes", "parent=yes: expected respect or ignore"),
        ] {
            let error = text.parse::<SamplingRule>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_taken_is_a_rule_with_sensible_numbers(
            any in ".{0,40}",
            parts in "((service|path|ratio|rate|parent|x)=?[0-9a-z*?/.,-]{0,6}(/s)?,?){1,4}",
            number in "ratio=-?[0-9.e]{1,6}|rate=-?[0-9.e]{1,6}/s",
        ) {
            for text in [any, parts, number] {
                let Ok(rule) = text.parse::<SamplingRule>() else { continue };
                proptest::prop_assert_eq!(&rule.to_string().parse::<SamplingRule>().unwrap(), &rule);
                match rule.quota {
                    Quota::Ratio(ratio) => proptest::prop_assert!((0.0..=1.0).contains(&ratio)),
                    Quota::PerSecond(rate) => proptest::prop_assert!(rate > 0.0 && rate.is_finite()),
                }
            }
        }
    }
}
