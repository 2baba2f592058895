//! No two files of a crate take from each other, directly or by others: whoever reads one reads down. What stands inside
//! a macro's call is not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// From a file's module to those that it takes from. The root's is the empty path.
type Imports = BTreeMap<String, BTreeSet<String>>;

const ROOTS: [&str; 8] = [
    "spop-core/src",
    "spop-ffi/src",
    "spop-lua/src",
    "agent/src",
    "agent/src/bin/spoa-otel",
    "agent/runtime/src",
    "agent/tool/src",
    "devenv/fake-server/src",
];

#[test]
fn no_circle_between_files() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for root in ROOTS {
        assert_eq!(circles(imports(&workspace.join(root))), Imports::new(), "{root}");
    }
}

#[test]
fn a_circle_is_found() {
    let files = |texts: &[(&str, &str)]| {
        imports_of(texts.iter().map(|(module, text)| ((*module).to_owned(), names_in(text))).collect())
    };
    // Of what a module only gives on, the source counts.
    let down = [
        ("", "mod a; mod b; pub mod c; pub use c::C;"),
        ("a", "use crate::{b::{self, B}, C}; fn f() { b::f() }"),
        ("b", "use super::c::*; #[cfg(test)] mod tests { use super::super::a::A; }"),
        ("c", "use std::b; use ::a::A;"),
    ];
    let imports = files(&down);
    let expected = [("", ""), ("a", "b c"), ("b", "c"), ("c", "")];
    for (module, used) in expected {
        assert_eq!(imports[module].iter().map(String::as_str).collect::<Vec<_>>().join(" "), used, "{module}");
    }
    assert_eq!(circles(imports), Imports::new());
    for up in ["use crate::a::A;", "fn f(a: &super::a::A) {}", "use super::{d, a as x};", "pub(super) use super::a::A;"]
    {
        let mut with_one = down;
        with_one[3].1 = up;
        let expected: Vec<&str> = if up.starts_with("pub") { vec![] } else { vec!["a", "b", "c"] };
        assert_eq!(circles(files(&with_one)).keys().collect::<Vec<_>>(), expected, "{up}");
    }
}

/// A name that stands twice is written in two ways some day.
#[test]
fn names_of_attributes_stand_in_one_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files_below(&root).iter().filter(|file| !file.ends_with("semconv.rs")) {
        let names = names_in(&fs::read_to_string(file).expect("UTF-8"));
        let is_attribute = |text: &&String| {
            let known = ["haproxy.", "http.", "opentracing.", "service.", "url."];
            known.iter().any(|space| text.starts_with(space)) && !text.contains(' ')
        };
        assert_eq!(names.texts.iter().find(is_attribute), None, "{}", file.display());
    }
    assert_eq!(names_in(r#"fn f() { g("url.path") }"#).texts, ["url.path"]);
}

/// Of the files below a folder.
fn imports(root: &Path) -> Imports {
    let text = |file: &PathBuf| fs::read_to_string(file).expect("UTF-8");
    let name = |file: &PathBuf| module(file.strip_prefix(root).expect("below the root"));
    imports_of(files_below(root).iter().map(|file| (name(file), names_in(&text(file)))).collect())
}

fn imports_of(files: BTreeMap<String, Names>) -> Imports {
    let given_on: BTreeMap<String, String> = files
        .iter()
        .flat_map(|(module, names)| names.given_on.iter().map(move |path| (module, path)))
        .filter_map(|(module, path)| Some((join(module, path.last()?), absolute(path, module, &files)?)))
        .collect();
    let uses = |(module, names): (&String, &Names)| {
        let used = names.used.iter().filter_map(|path| absolute(path, module, &files));
        let used = used.map(|path| file_of(path, &files, &given_on)).filter(|used| used != module);
        (module.clone(), used.collect())
    };
    files.iter().map(uses).collect()
}

/// Takes away what imports nothing that is left and what nothing that is left imports, again and again: the rest is
/// circles and what lies between them.
fn circles(mut imports: Imports) -> Imports {
    loop {
        let before = imports.len();
        let left: BTreeSet<_> = imports.keys().cloned().collect();
        imports.values_mut().for_each(|used| used.retain(|module| left.contains(module)));
        let used: BTreeSet<_> = imports.values().flatten().cloned().collect();
        imports.retain(|module, uses| !uses.is_empty() && used.contains(module));
        if imports.len() == before {
            return imports;
        }
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a folder").map(|entry| entry.expect("an entry").path());
    // Programs of a library are crates of their own.
    let files = entries.filter(|path| !path.ends_with("src/bin"));
    let files = files.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs")).collect()
}

fn module(path: &Path) -> String {
    let path = path.with_extension("");
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
    let names = match names.split_last() {
        Some((last, folder)) if matches!(last.as_ref(), "mod" | "lib" | "main") => folder,
        _ => &names,
    };
    names.join("::")
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// A path from the crate's root; `None` if it leads out of the crate, or is of the file itself.
fn absolute(path: &[String], module: &str, files: &BTreeMap<String, Names>) -> Option<String> {
    let mut names: Vec<&str> = module.split("::").filter(|name| !name.is_empty()).collect();
    match path.first()?.as_str() {
        "crate" => names.clear(),
        "super" | "self" => {}
        child if files.contains_key(&join(module, child)) => {}
        _ => return None,
    }
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(names.pop()),
            name => names.push(name),
        }
    }
    Some(names.join("::"))
}

/// The module of the file that has what a path leads to.
fn file_of(mut path: String, files: &BTreeMap<String, Names>, given_on: &BTreeMap<String, String>) -> String {
    while !files.contains_key(&path) {
        let parent = || path.rsplit_once("::").map_or_else(String::new, |(parent, _)| parent.to_owned());
        path = given_on.get(&path).cloned().unwrap_or_else(parent);
    }
    path
}

/// What a file names.
#[derive(Default)]
struct Names {
    used: Vec<Vec<String>>,
    /// By `pub use`.
    given_on: Vec<Vec<String>>,
    /// The literals.
    texts: Vec<String>,
}

fn names_in(text: &str) -> Names {
    let mut names = Names::default();
    names.visit_file(&syn::parse_file(text).expect("Rust"));
    names
}

fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
}

impl<'a> Visit<'a> for Names {
    fn visit_item(&mut self, item: &'a Item) {
        match item {
            Item::Mod(module) if module.attrs.iter().any(is_test) => {}
            Item::Use(item) if item.leading_colon.is_none() => {
                let given_on = !matches!(item.vis, Visibility::Inherited);
                leaves(&item.tree, &[], if given_on { &mut self.given_on } else { &mut self.used });
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_lit_str(&mut self, text: &'a syn::LitStr) {
        self.texts.push(text.value());
    }

    fn visit_attribute(&mut self, _: &'a Attribute) {}

    fn visit_visibility(&mut self, _: &'a Visibility) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            self.used.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}

/// The paths of a `use`, one by one.
fn leaves(tree: &UseTree, before: &[String], found: &mut Vec<Vec<String>>) {
    let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &with(&path.ident), found),
        UseTree::Name(name) => found.push(with(&name.ident)),
        UseTree::Rename(name) => found.push(with(&name.ident)),
        UseTree::Glob(_) => found.push(before.to_vec()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, found)),
    }
}
