//! No two modules of the crate import each other, directly or by others: whoever reads one reads down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Imports = BTreeMap<String, BTreeSet<String>>;

/// What each module of the root imports. A folder is one module: what its files take from each other is not looked at.
fn imports() -> Imports {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports = Imports::new();
    for entry in fs::read_dir(&root).expect("the sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let files = if path.is_dir() { files_below(&path) } else { vec![path] };
        let used = imports.entry(name.clone()).or_default();
        for file in files {
            let text = fs::read_to_string(&file).expect("UTF-8");
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                for path in line.split("crate::").skip(1) {
                    used.insert(path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_owned());
                }
            }
        }
        used.remove(&name);
    }
    imports
}

fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Takes away what imports nothing that is left, again and again: the rest is circles and what stands on them.
fn circles(mut imports: Imports) -> Imports {
    loop {
        let before = imports.len();
        let left: BTreeSet<_> = imports.keys().cloned().collect();
        imports.retain(|_, used| used.iter().any(|module| left.contains(module)));
        if imports.len() == before {
            return imports;
        }
    }
}

#[test]
fn no_circle_between_modules() {
    let imports = imports();
    assert!(imports["conn"].contains("frame") && imports["frame"].contains("error"), "{imports:?}");
    assert_eq!(circles(imports.clone()), Imports::new());

    let mut with_one = imports;
    with_one.entry("error".to_owned()).or_default().insert("frame".to_owned());
    assert!(!circles(with_one).is_empty());
}
