//! What is wrong with the settings, and where it was said.

use std::fmt;

use clap::builder::StyledStr;

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `path:line`, unless the text names the option or the variable.
    pub place: Option<String>,
    pub text: String,
}

impl Mistake {
    pub fn new(text: impl fmt::Display) -> Self {
        Self { place: None, text: text.to_string() }
    }

    /// Its line in the file, if it is there.
    pub fn line(&self) -> Option<u32> {
        self.place.as_ref()?.rsplit(':').next()?.parse().ok()
    }

    pub fn at(place: impl fmt::Display, text: impl fmt::Display) -> Self {
        Self { place: Some(place.to_string()), text: text.to_string() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// What clap says of a mistake, in one line and without its advice to look into `--help`.
pub fn told(rendered: &StyledStr) -> String {
    let text = rendered.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let parts = text.split("\n\nUsage:").next().unwrap_or(text).split("\n\nFor more").next().unwrap_or(text).lines();
    let parts: Vec<_> = parts.map(str::trim).filter(|part| !part.is_empty()).collect();
    parts.join("; ")
}

/// The name that is most like this one, as advice.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let likeness = |known: &&str| strsim::jaro_winkler(name, known);
    let nearest = known.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|nearest| likeness(nearest) > 0.7) {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None => String::new(),
    }
}
