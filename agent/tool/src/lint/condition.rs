//! `.if` and its kin: which lines a version of HAProxy reads.

use super::words::{Environment, split};

/// A version of HAProxy, such as 2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.split(['.', '-']).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Version(major, minor)),
            _ => Err(format!("{text:?} is no version of HAProxy, such as 2.6")),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The open `.if`s: whether lines are read, and whether a branch was taken already.
#[derive(Default)]
pub(super) struct Conditions {
    open: Vec<(bool, bool)>,
    /// Those that are open beyond `MAX_DEPTH`.
    deeper: usize,
}

/// HAProxy refuses more.
const MAX_DEPTH: usize = 64;

impl Conditions {
    /// Takes a line that begins with a dot; true if it was such a line, which is read no further.
    pub(super) fn take(&mut self, line: &str, version: Version, environment: &Environment) -> bool {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            ".if" if self.open.len() == MAX_DEPTH => self.deeper += 1,
            ".endif" if self.deeper > 0 => self.deeper -= 1,
            ".if" => {
                let holds = self.reads() && holds(rest, version, environment);
                self.open.push((holds, holds || !self.reads()));
            }
            ".elif" => {
                if let Some((reads, taken)) = self.open.last_mut() {
                    *reads = !*taken && holds(rest, version, environment);
                    *taken |= *reads;
                }
            }
            ".else" => {
                if let Some((reads, taken)) = self.open.last_mut() {
                    *reads = !*taken;
                    *taken = true;
                }
            }
            ".endif" => drop(self.open.pop()),
            _ => return line.starts_with('.'),
        }
        true
    }

    /// Are lines read here?
    pub(super) fn reads(&self) -> bool {
        self.deeper == 0 && self.open.iter().all(|(reads, _)| *reads)
    }
}

/// Predicates that nobody can know from outside are taken to hold.
fn holds(expression: &str, version: Version, environment: &Environment) -> bool {
    let expression = split(expression, environment).unwrap_or_default().join(" ");
    Expression { rest: &expression, depth: 0, version, environment }.or()
}

/// What of an expression is not read yet.
struct Expression<'e> {
    rest: &'e str,
    depth: usize,
    version: Version,
    environment: &'e Environment,
}

impl Expression<'_> {
    /// Both sides are read, whatever the first one says.
    fn or(&mut self) -> bool {
        let mut holds = self.and();
        while self.takes("||") {
            holds |= self.and();
        }
        holds
    }

    fn and(&mut self) -> bool {
        let mut holds = self.term();
        while self.takes("&&") {
            holds &= self.term();
        }
        holds
    }

    fn term(&mut self) -> bool {
        let mut wanted = true;
        while self.takes("!") {
            wanted = !wanted;
        }
        if self.depth < MAX_DEPTH && self.takes("(") {
            self.depth += 1;
            let holds = self.or();
            self.depth -= 1;
            self.takes(")");
            return holds == wanted;
        }
        let name_len = self.rest.find(['(', ')', '|', '&']).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(name_len);
        let (args, rest) = match rest.strip_prefix('(') {
            Some(rest) => rest.split_once(')').unwrap_or((rest, "")),
            None => ("", rest),
        };
        self.rest = rest;
        predicate(name.trim(), args, self.version, self.environment) == wanted
    }

    fn takes(&mut self, sign: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

fn predicate(name: &str, args: &str, version: Version, environment: &Environment) -> bool {
    let args: Vec<_> = args.split(',').map(str::trim).collect();
    let at_least = || args.first().and_then(|arg| arg.parse().ok()).is_none_or(|wanted: Version| wanted <= version);
    match name {
        "version_atleast" => at_least(),
        "version_before" => !at_least(),
        "defined" => args.first().is_some_and(|name| environment.get(name).is_some()),
        "streq" => args.first() == args.get(1),
        "strneq" => args.first() != args.get(1),
        "strstr" => args.get(1).is_none_or(|part| args.first().is_some_and(|text| text.contains(part))),
        "" | "0" | "false" => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches() {
        let mut environment = Environment::default();
        environment.set("A", "x", false);
        for (expression, version, expected) in [
            ("version_atleast(3.1)", "3.2", true),
            ("version_atleast(3.1)", "3.0", false),
            ("!version_atleast(3.1)", "2.6", true),
            ("version_atleast(3.4) && !defined(NINE_X)", "3.4", true),
            ("version_atleast(3.4) && !defined(A)", "3.4", false),
            ("streq(\"$A\",x) || streq(a,b)", "2.6", true),
            ("strneq(\"$A\",x)", "2.6", false),
            ("strstr(abc,b)", "2.6", true),
            ("version_before(2.8.1)", "2.8", false),
            ("feature(LUA)", "2.6", true),
            ("(version_atleast(3.1) && feature(X)) || 0", "3.2", true),
            ("(version_atleast(3.1) && feature(X)) || 0", "3.0", false),
            ("!(version_atleast(9.0) || 0)", "2.6", true),
            ("(0 || 1) && 0", "2.6", false),
            ("1 || (0 && 0", "2.6", true),
            ("! !1", "2.6", true),
            ("version_atleast(3.1) ) x", "3.0", false),
            ("0", "2.6", false),
        ] {
            assert_eq!(holds(expression, version.parse().unwrap(), &environment), expected, "{expression}");
        }
        let mut conditions = Conditions::default();
        let read = |lines: &[&str], conditions: &mut Conditions| {
            let version = Version(2, 6);
            lines.iter().filter(|line| !conditions.take(line, version, &environment) && conditions.reads()).count()
        };
        let lines =
            [".if 0", "no", ".if 1", "no", ".endif", ".elif true", "yes", ".else", "no", ".endif", "yes", ".endif"];
        assert_eq!(read(&lines, &mut conditions), 2);
        assert!(["3", "x.y", ""].iter().all(|text| text.parse::<Version>().is_err()));
    }
}
