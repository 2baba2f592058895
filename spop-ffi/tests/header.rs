//! include/spop.h is what cbindgen makes of the sources. `UPDATE_HEADER=1 cargo test -p spop-ffi --test header` writes it.

use std::path::{Path, PathBuf};

/// Titles of the groups, each before the first item of its group.
const TITLES: [(&str, &str); 17] = [
    ("#define SPOP_OK ", "Results"),
    ("#define SPOP_ABI_VERSION ", "The interface, and the statuses of a DISCONNECT"),
    ("#define SPOP_FRAME_UNSET ", "Frames"),
    ("#define SPOP_TYPE_NULL ", "Values"),
    ("#define SPOP_LIST_MESSAGES ", "Lists"),
    ("#define SPOP_CAP_PIPELINING ", "Capabilities"),
    ("#define SPOP_EVENT_NONE ", "Events"),
    ("#define SPOP_MAX_OPEN ", "Limits"),
    ("typedef ", "Types"),
    ("const char *spop_strerror(", "Functions: the library"),
    ("spop_error spop_peek_len(", "Functions: frames"),
    ("struct spop_value spop_null(", "Functions: values"),
    ("spop_error spop_cursor_init(", "Functions: lists"),
    ("spop_error spop_haproxy_hello_parse(", "Functions: HELLO and DISCONNECT"),
    ("size_t spop_writer_room(", "Functions: writers"),
    ("spop_error spop_agent_config_init(", "Functions: an agent and a client"),
    ("spop_error spop_varint_decode(", "Functions: varints"),
];

fn generate(dir: &Path) -> String {
    let config = cbindgen::Config::from_file(dir.join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new().with_crate(dir).with_config(config).generate().expect("cbindgen");
    let mut header = Vec::new();
    bindings.write(&mut header);
    titled(&String::from_utf8(header).expect("the header is text"))
}

/// Puts the titles in, each before the comment of its item.
fn titled(header: &str) -> String {
    let mut lines: Vec<String> = header.lines().map(parenthesised).collect();
    for (item, title) in TITLES {
        let found = lines.iter().position(|line| line.starts_with(item));
        let mut at = found.unwrap_or_else(|| panic!("no item begins with {item:?}"));
        while !lines[at].starts_with("/*") {
            at -= 1;
        }
        lines.insert(at, format!("/* ---- {title} {} */\n", "-".repeat(108 - title.len())));
    }
    lines.join("\n") + "\n"
}

/// `#define NAME -1` with the number in parentheses, so that `x NAME` is no subtraction.
fn parenthesised(line: &str) -> String {
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["#define", name, number] if number.starts_with('-') => format!("#define {name} ({number})"),
        _ => line.to_owned(),
    }
}

#[test]
fn header_is_up_to_date() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = dir.join("../include/spop.h");
    let header = generate(&dir);
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(&path, &header).expect("write include/spop.h");
    }
    let committed = std::fs::read_to_string(&path).expect("read include/spop.h");
    let different = header.lines().zip(committed.lines()).position(|(made, kept)| made != kept);
    if let Some(line) = different {
        panic!("include/spop.h is out of date, first in line {}; see the top of this test", line + 1);
    }
    assert_eq!(header.len(), committed.len(), "include/spop.h is out of date");
}
