//! `--generate`: the manual pages and the completions of a program, made from its options for whoever packages it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
pub use clap_mangen::roff;
use roff::{Roff, roman};

/// The option `--generate`, to be flattened into those of a program.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Generate {
    /// Print the manual page (man) or the completions of a shell (bash, zsh, fish) and end; with =DIR, write all pages or the
    /// completions into that directory
    #[arg(long, value_name = "WHAT[=DIR]", exclusive = true, help_heading = "Documentation")]
    generate: Option<Wanted>,
}

#[derive(Clone, Debug)]
struct Wanted {
    /// `None`: the manual.
    shell: Option<Shell>,
    directory: Option<PathBuf>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, directory) = match text.split_once('=') {
            None => (text, None),
            Some((what, directory)) => (what, Some(PathBuf::from(directory)).filter(|path| path != Path::new(""))),
        };
        let shell = match what {
            "man" => None,
            "bash" => Some(Shell::Bash),
            "zsh" => Some(Shell::Zsh),
            "fish" => Some(Shell::Fish),
            _ => return Err("write man, bash, zsh or fish, or for instance man=/usr/local/share/man/man1".to_owned()),
        };
        if directory.is_none() && text.contains('=') {
            return Err("the directory is missing after =".to_owned());
        }
        Ok(Self { shell, directory })
    }
}

/// A manual page beside that of the program.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// Its name, without the section.
    pub name: String,
    /// Its section: 5 for a file.
    pub section: u8,
    /// Its text in the language of manual pages, without the title.
    pub text: String,
}

impl Page {
    /// A page called `name` in `section`, with `text` in the language of manual pages, without the title.
    pub fn new(name: impl Into<String>, section: u8, text: impl Into<String>) -> Self {
        Self { name: name.into(), section, text: text.into() }
    }
}

impl Generate {
    /// Whether the user asked for it: then [`Generate::run`] is all that the program does.
    pub fn is_wanted(&self) -> bool {
        self.generate.is_some()
    }

    /// Writes what is asked for: of `command` with its subcommands, and of `further` pages, into the directory, or the page or script
    /// of the program alone to `out`.
    ///
    /// # Errors
    /// A file or `out` cannot be written; the error names the file.
    pub fn run(&self, mut command: Command, further: &[Page], out: &mut dyn Write) -> io::Result<()> {
        let Some(Wanted { shell, directory }) = &self.generate else { return Ok(()) };
        let name = command.get_name().to_owned();
        match (shell, directory) {
            (Some(shell), None) => {
                // clap_complete panics if it cannot write.
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut command, name, &mut script);
                out.write_all(&script)
            }
            (Some(shell), Some(directory)) => clap_complete::generate_to(*shell, &mut command, name, directory)
                .map(drop)
                .map_err(|error| named(directory, &error)),
            (None, None) => out.write_all(&program_page(command)?),
            (None, Some(directory)) => {
                command = command.disable_help_subcommand(true);
                command.build();
                write_pages(command, directory)?;
                for page in further {
                    let path = directory.join(format!("{}.{}", page.name, page.section));
                    let text = titled(page);
                    File::create(&path)
                        .and_then(|mut file| file.write_all(&text))
                        .map_err(|error| named(&path, &error))?;
                }
                Ok(())
            }
        }
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The pages of a command and of its subcommands.
fn write_pages(command: Command, directory: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        write_pages(subcommand.clone(), directory)?;
    }
    let path = directory.join(Man::new(command.clone()).get_filename());
    let page = program_page(command)?;
    File::create(&path).and_then(|mut file| file.write_all(&page)).map_err(|error| named(&path, &error))
}

/// The page of a command. What its help has below the options becomes sections of its own.
fn program_page(mut command: Command) -> io::Result<Vec<u8>> {
    command.build();
    let below = command.get_after_long_help().or_else(|| command.get_after_help()).map(ToString::to_string);
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage:").unwrap_or(&usage).trim().to_owned();
    let command = command.after_help(None).after_long_help(None).override_usage(usage);
    let mut page = Vec::new();
    let man = Man::new(command);
    let title = man.get_filename().trim_end_matches(".1").to_uppercase();
    man.title(title).date(date()).manual(MANUAL).render(&mut page)?;
    if let Some(below) = below {
        sections(&below).to_writer(&mut page)?;
    }
    Ok(tidy(&String::from_utf8_lossy(&page)).into_bytes())
}

/// A page as the checkers of pages like it: no break beside an empty line, no space at an end, no text line beyond [`WIDTH`].
fn tidy(page: &str) -> String {
    let mut tidy = String::new();
    let mut as_it_is = false;
    for line in page.replace("\n.br\n\n.br\n", "\n.sp\n").lines() {
        match line {
            ".nf" => as_it_is = true,
            ".fi" => as_it_is = false,
            _ => (),
        }
        if as_it_is || line.starts_with('.') {
            tidy.push_str(line.trim_end());
            tidy.push('\n');
            continue;
        }
        let mut length = 0;
        for word in line.split_ascii_whitespace() {
            if length > 0 && length + 1 + word.len() > WIDTH {
                tidy.push('\n');
                length = 0;
            }
            if length > 0 {
                tidy.push(' ');
            } else if word.starts_with(['.', '\'']) {
                // Else it would be a command.
                tidy.push_str("\\&");
            }
            tidy.push_str(word);
            length += word.len() + 1;
        }
        tidy.push('\n');
    }
    tidy
}

const WIDTH: usize = 78;

/// What the pages belong to, for their top line.
const MANUAL: &str = "SPOP for HAProxy";

/// A text of the help as sections: `Heading:` begins one, indented lines stay as they are.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    let mut as_it_is = false;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let indented = line.strip_prefix("  ");
        if as_it_is && indented.is_none() {
            roff.control("fi", []);
            roff.control("RE", []);
        }
        if !as_it_is && indented.is_some() {
            roff.control("RS", ["4"]);
            roff.control("nf", []);
        }
        as_it_is = indented.is_some();
        match (indented, line.strip_suffix(':')) {
            (None, Some(heading)) => roff.control("SH", [heading.to_uppercase().as_str()]),
            _ => roff.text([roman(indented.unwrap_or(line))]),
        };
    }
    if as_it_is {
        roff.control("fi", []);
        roff.control("RE", []);
    }
    roff
}

fn titled(page: &Page) -> Vec<u8> {
    let mut text = String::new();
    let _infallible = writeln!(text, ".TH {} {} {} \"\" \"{MANUAL}\"", page.name.to_uppercase(), page.section, date());
    text.push_str(&page.text);
    tidy(&text).into_bytes()
}

/// The date of the pages: of the sources where whoever builds packages says it, so that they come out the same each time.
fn date() -> String {
    let of_the_sources = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    // Year 9999 is the last that has four digits.
    let seconds = of_the_sources.filter(|&seconds| seconds < 253_402_300_800).map(Duration::from_secs);
    let time = seconds.map_or_else(SystemTime::now, |seconds| UNIX_EPOCH + seconds);
    humantime::format_rfc3339_seconds(time).to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_text_is_broken_and_never_becomes_a_command() {
        let long = format!(
            "{} .5 'or' so \n.br\n\n.br\n.nf\n{} \n.fi\n",
            "word ".repeat(15).trim_end(),
            "as it is ".repeat(20)
        );
        let tidy = tidy(&long);
        let mut lines = tidy.lines();
        assert_eq!(lines.next(), Some("word ".repeat(15).trim_end()).map(|line| line.to_owned() + " .5").as_deref());
        assert_eq!(lines.next(), Some("\\&'or' so"));
        assert_eq!(lines.next(), Some(".sp"));
        assert_eq!(lines.nth(1), Some("as it is ".repeat(20).trim_end()));
    }

    #[test]
    fn what_is_below_the_options_becomes_sections() {
        let text = sections("Exit codes:\n  0  done\n  1  not\n\nSee the manual.\n").to_roff();
        let wanted = ".SH \"EXIT CODES\"\n.RS 4\n.nf\n0  done\n1  not\n.fi\n.RE\nSee the manual.\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn what_can_be_generated() {
        let wanted = |text: &str| text.parse::<Wanted>();
        assert_eq!(wanted("bash=/a=b").unwrap().directory.as_deref(), Some(Path::new("/a=b")));
        assert_eq!(wanted("man").unwrap().shell, None);
        assert!(wanted("zsh=").unwrap_err().contains("missing"));
        assert!(wanted("").unwrap_err().contains("man, bash, zsh or fish"));
    }
}
