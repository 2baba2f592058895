//! What README.md shows is what `spop` says.

use std::path::Path;
use std::process::Command;

use crate::support::repository;

/// The commands of its console blocks, each with what it prints.
fn shown(readme: &str) -> Vec<(String, String)> {
    let mut shown = Vec::<(String, String)>::new();
    for block in readme.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.lines() {
            match (line.strip_prefix("$ "), shown.last_mut()) {
                (Some(command), _) => shown.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => *output += &format!("{line}\n"),
                (None, None) => {}
            }
        }
    }
    shown
}

/// Those that need no agent and no time.
#[test]
fn its_commands_print_what_it_shows() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let folder = Path::new(env!("CARGO_BIN_EXE_spop")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let shown = shown(&readme);
    let alone: Vec<_> = shown.iter().filter(|(command, _)| command.contains("spop decode")).collect();
    assert!(alone.len() >= 2, "{shown:?}");
    for (command, expected) in alone {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", &format!("{{ {command}; }} 2>&1")]).env("PATH", &path).current_dir(repository());
        let said = String::from_utf8(shell.output().unwrap().stdout).unwrap();
        // Of the record it shows a part.
        for line in expected.lines() {
            assert!(said.lines().any(|said| said == line), "{command}\nshown: {line}\nsaid:\n{said}");
        }
    }
}
