//! The configuration file: TOML, with the line of each value.

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::Mistake;

/// Largest file that is read.
const MAX_SIZE: u64 = 256 << 10;

/// Most keys of a table, of which there are less than a hundred that mean anything.
const MAX_KEYS: usize = 500;

/// Most values of one key.
const MAX_VALUES: usize = 1024;

/// The table of OpenTelemetry's variables.
pub const ENVIRONMENT: &str = "environment";

/// What a file says. Whether its keys and values mean anything is not known yet.
#[derive(Debug, Default)]
pub struct ConfigFile {
    /// By their lines.
    pub entries: Vec<Entry>,
    /// Those of the table `[environment]`.
    pub variables: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug)]
pub struct Entry {
    pub key: String,
    /// `path:line` of the key.
    pub place: String,
    pub value: Given,
}

/// The value of a key.
#[derive(Debug)]
pub enum Given {
    Switch(bool),
    /// A text or a number, as it would be on the command line.
    Text(String),
    /// The same several times, each with its place.
    List(Vec<(String, String)>),
}

impl ConfigFile {
    /// Reads a file; what is wrong with a part of it leaves the rest.
    pub fn read(path: &Path) -> (Self, Vec<Mistake>) {
        let shown = path.display().to_string();
        match text_of(path) {
            Ok(text) => Self::parse(&shown, &text),
            Err(reason) => (Self::default(), vec![Mistake::at(format_args!("--config {shown}"), reason)]),
        }
    }

    fn parse(path: &str, text: &str) -> (Self, Vec<Mistake>) {
        let lines = Lines { path, breaks: text.match_indices('\n').map(|(at, _)| at).collect() };
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut mistakes: Vec<_> =
            errors.iter().map(|error| lines.mistake(error.span().unwrap_or_default(), error.message())).collect();
        let mut file = Self::default();
        let table = table.into_inner();
        lines.bound(&table, "the file", &mut mistakes);
        for (key, value) in table.into_iter().take(MAX_KEYS) {
            match value.get_ref() {
                DeValue::Table(variables) if *key.get_ref() == ENVIRONMENT => {
                    file.variables = lines.entries(variables, &mut mistakes);
                }
                _ if *key.get_ref() == ENVIRONMENT => {
                    mistakes.push(lines.mistake(key.span(), "environment is a table: write [environment]"));
                }
                DeValue::Table(_) => {
                    let text = format!("there is no table {}: write its keys above all tables", key.get_ref());
                    mistakes.push(lines.mistake(key.span(), text));
                }
                _ => file.entries.extend(lines.entry(&key, &value, &mut mistakes)),
            }
        }
        let by_line = |entry: &Entry| lines.number_in(&entry.place);
        file.entries.sort_by_key(by_line);
        file.variables.sort_by_key(by_line);
        (file, mistakes)
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    // To open what is no file may wait for ever.
    let kind = fs::metadata(path).map_err(|error| error.to_string())?.file_type();
    if kind.is_dir() {
        return Err("this is a directory, not a file".to_owned());
    }
    if !kind.is_file() {
        return Err("this is not a regular file".to_owned());
    }
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(format!("the file is larger than {} KiB", MAX_SIZE >> 10));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8")
    })
}

/// Tells lines by places in the text.
struct Lines<'a> {
    path: &'a str,
    breaks: Vec<usize>,
}

impl Lines<'_> {
    fn place(&self, span: &Range<usize>) -> String {
        format!("{}:{}", self.path, self.breaks.partition_point(|at| *at < span.start) + 1)
    }

    fn number_in(&self, place: &str) -> Option<usize> {
        place.get(self.path.len() + 1..)?.parse().ok()
    }

    fn mistake(&self, span: Range<usize>, text: impl std::fmt::Display) -> Mistake {
        Mistake::at(self.place(&span), text)
    }

    fn entries(&self, table: &DeTable<'_>, mistakes: &mut Vec<Mistake>) -> Vec<Entry> {
        self.bound(table, ENVIRONMENT, mistakes);
        table.iter().take(MAX_KEYS).filter_map(|(key, value)| self.entry(key, value, mistakes)).collect()
    }

    fn bound(&self, table: &DeTable<'_>, name: &str, mistakes: &mut Vec<Mistake>) {
        if table.len() > MAX_KEYS {
            mistakes.push(Mistake::at(self.path, format_args!("{name} has more than {MAX_KEYS} keys")));
        }
    }

    fn entry(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Entry> {
        let name = key.get_ref();
        let value = match value.get_ref() {
            DeValue::Boolean(switch) => Given::Switch(*switch),
            DeValue::Array(items) if items.len() > MAX_VALUES => {
                mistakes.push(self.mistake(key.span(), format_args!("{name} has more than {MAX_VALUES} values")));
                return None;
            }
            DeValue::Array(items) => {
                let mut texts = Vec::new();
                for item in items {
                    match scalar(item.get_ref()) {
                        Some(text) => texts.push((self.place(&item.span()), text)),
                        None => mistakes.push(self.mistake(item.span(), format_args!("{name}: {SCALARS}"))),
                    }
                }
                Given::List(texts)
            }
            other => match scalar(other) {
                Some(text) => Given::Text(text),
                None => {
                    mistakes.push(self.mistake(value.span(), format_args!("{name}: {SCALARS}")));
                    return None;
                }
            },
        };
        Some(Entry { key: name.to_string(), place: self.place(&key.span()), value })
    }
}

const SCALARS: &str = "expected a text in quotes, a number, true or false, or a list of texts";

/// As it would be on the command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => Some(i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        ConfigFile::parse("c", text).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_value_has_its_line() {
        let text = "# first\nlisten = [\n  \"a:1\",\n  \"b:2\",\n]\nqueue-spans = 1_000\nconsole = true\n\
                    hex = 0x10\n[environment]\nOTEL_BSP_MAX_QUEUE_SIZE = 5\n";
        let (file, mistakes) = ConfigFile::parse("c", text);
        assert_eq!(mistakes, []);
        let shown = file.entries.iter().map(|entry| format!("{} {} {:?}", entry.key, entry.place, entry.value));
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [
                r#"listen c:2 List([("c:3", "a:1"), ("c:4", "b:2")])"#,
                r#"queue-spans c:6 Text("1000")"#,
                "console c:7 Switch(true)",
                r#"hex c:8 Text("16")"#,
            ]
        );
        assert_eq!((&*file.variables[0].place, &*file.variables[0].key), ("c:10", "OTEL_BSP_MAX_QUEUE_SIZE"));
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let told = mistakes("a = \nb = 1\nb = 2\nc = 2020-01-01\n[export]\nd = 1\n[[environment]]\n");
        let expected = [
            "c:1: ",
            "c:3: duplicate key",
            "c:4: c: expected a text",
            "c:5: there is no table export",
            "c:7: environment is a table",
        ];
        for expected in expected {
            assert!(told.iter().any(|told| told.starts_with(expected)), "{expected}: {told:#?}");
        }
        let many = format!("listen = [{}]", "\"a\",".repeat(MAX_VALUES + 1));
        assert_eq!(mistakes(&many), ["c:1: listen has more than 1024 values"]);
        let keys: String = (0..=MAX_KEYS).map(|n| format!("k{n} = 1\n")).collect();
        assert_eq!(mistakes(&keys), ["c: the file has more than 500 keys"]);
        assert_eq!(mistakes(&format!("[environment]\n{keys}")), ["c: environment has more than 500 keys"]);
    }

    #[test]
    fn only_small_files_of_text_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let told = |path: &Path| ConfigFile::read(path).1[0].to_string();
        assert!(told(&path).contains("No such file"), "{}", told(&path));
        assert!(told(dir.path()).ends_with("this is a directory, not a file"));
        assert!(told(Path::new("/dev/null")).ends_with("this is not a regular file"));
        fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
        assert!(told(&path).ends_with("line 2 is not UTF-8"));
        fs::write(&path, "#".repeat(MAX_SIZE as usize)).unwrap();
        assert_eq!(ConfigFile::read(&path).1, []);
        fs::write(&path, "#".repeat(MAX_SIZE as usize + 1)).unwrap();
        assert!(told(&path).ends_with("the file is larger than 256 KiB"));
    }
}
