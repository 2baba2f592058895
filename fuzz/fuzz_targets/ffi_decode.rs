//! The decoders of the C interface: whatever the bytes, they say what spop-core says.

#![no_main]

#[path = "support/c.rs"]
mod c;

use std::net::{Ipv4Addr, Ipv6Addr};

use c::{ptr, zeroed};
use libfuzzer_sys::fuzz_target;
use spop_core::{
    Action, Actions, AgentHello, Args, Capabilities, DecodeError, Disconnect, Frame, HaproxyHello, Kv, KvList,
    Messages, PREFIX_LEN, Reader, Value, Version, peek_len, supports_2_0, varint,
};
use spop_ffi::*;

const MAX_FRAME_SIZE: u32 = 16380;

fuzz_target!(|input: &[u8]| {
    prefix(input);
    scalars(input);
    texts(input);
    for list in [SPOP_LIST_MESSAGES, SPOP_LIST_KV, SPOP_LIST_ACTIONS] {
        // SAFETY: a cursor for the call to fill, over bytes that stay; so in all of this file.
        let mut cursor = unsafe { zeroed() };
        assert_eq!(unsafe { spop_cursor_init(&mut cursor, list, ptr(input), input.len()) }, SPOP_OK);
        match list {
            SPOP_LIST_MESSAGES => messages(cursor, Messages::new(input)),
            SPOP_LIST_KV => pairs(cursor, KvList::new(input)),
            _ => actions(cursor, Actions::new(input)),
        }
    }
    frame(input);
    if let Some(body) = input.get(PREFIX_LEN..) {
        frame(body);
    }
});

/// The code that stands for what spop-core says.
#[track_caller]
fn same<T>(code: spop_error, core: &Result<T, DecodeError>) -> bool {
    match core {
        Ok(_) => assert_eq!(code, SPOP_OK),
        Err(error) => {
            assert!(code <= -100, "{code} for {error}");
            assert_eq!(spop_error_status(code), error.status().0, "{code} for {error}");
        }
    }
    core.is_ok()
}

fn prefix(input: &[u8]) {
    let mut total = 0;
    let code = unsafe { spop_peek_len(ptr(input), input.len(), MAX_FRAME_SIZE, &mut total) };
    match peek_len(input, MAX_FRAME_SIZE) {
        Ok(None) => assert_eq!(code, SPOP_AGAIN),
        core => {
            if same(code, &core) {
                assert_eq!(core, Ok(Some(total)));
            }
        }
    }
}

fn scalars(input: &[u8]) {
    let (mut number, mut used) = (0, 0);
    let code = unsafe { spop_varint_decode(ptr(input), input.len(), &mut number, &mut used) };
    let core = varint::decode(input);
    if same(code, &core) {
        assert_eq!(core, Ok((number, used)));
        assert_eq!(spop_varint_len(number), used);
        let mut out = vec![0; used];
        let mut len = 0;
        assert_eq!(unsafe { spop_varint_encode(number, out.as_mut_ptr().cast(), used - 1, &mut len) }, SPOP_E_NO_SPACE);
        assert_eq!(unsafe { spop_varint_encode(number, out.as_mut_ptr().cast(), used, &mut len) }, SPOP_OK);
        assert_eq!((&out[..], len), (&input[..used], used));
    }

    let (mut found, mut reader) = (unsafe { zeroed() }, Reader::new(input));
    let code = unsafe { spop_value_decode(ptr(input), input.len(), &mut found, &mut used) };
    let core = Value::decode(&mut reader);
    if same(code, &core) {
        assert_eq!((core, reader.offset()), (Ok(unsafe { value(&found) }), used));
        let mut out = vec![0; unsafe { spop_value_len(&found) }];
        let mut len = 0;
        let code = unsafe { spop_value_encode(&found, out.as_mut_ptr().cast(), out.len(), &mut len) };
        assert_eq!((code, len), (SPOP_OK, out.len()));
        assert_eq!(Value::decode(&mut Reader::new(&out)), core);
    }
}

fn texts(input: &[u8]) {
    let (mut capabilities, mut major, mut minor) = (0, 0, 0);
    assert_eq!(unsafe { spop_capabilities_parse(ptr(input), input.len(), &mut capabilities) }, SPOP_OK);
    assert_eq!(capabilities, capability_bits(Capabilities::parse(input)));
    let code = unsafe { spop_version_parse(ptr(input), input.len(), &mut major, &mut minor) };
    match Version::parse(input) {
        Some(version) => assert_eq!((code, version), (SPOP_OK, Version { major, minor })),
        None => assert_eq!(code, SPOP_E_VERSION),
    }
    let code = unsafe { spop_versions_check(ptr(input), input.len()) };
    assert_eq!(code == SPOP_OK, supports_2_0(input));
}

fn capability_bits(set: Capabilities) -> u32 {
    let all = [
        (Capabilities::PIPELINING, SPOP_CAP_PIPELINING),
        (Capabilities::ASYNC, SPOP_CAP_ASYNC),
        (Capabilities::FRAGMENTATION, SPOP_CAP_FRAGMENTATION),
    ];
    all.into_iter().filter(|(one, _)| set.contains(*one)).fold(0, |bits, (_, bit)| bits | bit)
}

fn frame(body: &[u8]) {
    let mut found = unsafe { zeroed() };
    let code = unsafe { spop_frame_decode(ptr(body), body.len(), &mut found) };
    let core = Frame::decode(body);
    if !same(code, &core) {
        return;
    }
    let core = core.expect("just seen");
    assert_eq!(found.r#type, core.header.frame_type.0.into());
    assert_eq!((found.flags, found.stream_id), (core.header.flags.0, core.header.stream_id.0));
    assert_eq!((found.frame_id, unsafe { bytes(found.payload) }), (core.header.frame_id.0, core.payload));
    let mut cursor = unsafe { zeroed() };
    assert_eq!(unsafe { spop_frame_cursor(&found, SPOP_LIST_MESSAGES, &mut cursor) }, SPOP_OK);
    messages(cursor, core.messages());
    assert_eq!(unsafe { spop_frame_cursor(&found, SPOP_LIST_KV, &mut cursor) }, SPOP_OK);
    pairs(cursor, core.kv());
    assert_eq!(unsafe { spop_frame_cursor(&found, SPOP_LIST_ACTIONS, &mut cursor) }, SPOP_OK);
    actions(cursor, core.actions());
    assert_eq!(unsafe { spop_frame_cursor(&found, SPOP_LIST_ARGS, &mut cursor) }, SPOP_E_ARGUMENT);
    parsed(&found, &core);
}

fn parsed(found: &spop_frame, core: &Frame<'_>) {
    let mut hello = unsafe { zeroed() };
    let parsed = HaproxyHello::parse(core);
    if same(unsafe { spop_haproxy_hello_parse(found, &mut hello) }, &parsed) {
        let engine_id = (!hello.engine_id.ptr.is_null()).then(|| unsafe { bytes(hello.engine_id) });
        let mut again = parsed.expect("just seen");
        again.supported_versions = unsafe { bytes(hello.versions) };
        again.max_frame_size = hello.max_frame_size;
        again.healthcheck = hello.healthcheck != 0;
        again.engine_id = engine_id;
        assert_eq!(parsed, Ok(again));
        assert_eq!(hello.capabilities, capability_bits(again.capabilities));
    }
    let parsed = AgentHello::parse(core);
    if same(unsafe { spop_agent_hello_parse(found, &mut hello) }, &parsed) {
        let parsed = parsed.expect("just seen");
        assert_eq!((unsafe { bytes(hello.versions) }, hello.max_frame_size), (parsed.version, parsed.max_frame_size));
    }
    let mut disconnect = unsafe { zeroed() };
    let parsed = Disconnect::parse(core);
    if same(unsafe { spop_disconnect_parse(found, &mut disconnect) }, &parsed) {
        let parsed = parsed.expect("just seen");
        assert_eq!((disconnect.has_status != 0).then_some(disconnect.status), parsed.status.map(|status| status.0));
        assert_eq!(unsafe { bytes(disconnect.message) }, parsed.message);
    }
}

/// Walks with both to the end. `next` is the C function, `compare` is for what both found.
fn walk<T, U>(
    mut cursor: spop_cursor,
    mut core: impl Iterator<Item = Result<T, DecodeError>>,
    next: unsafe extern "C" fn(*mut spop_cursor, *mut U) -> spop_error,
    mut compare: impl FnMut(&U, T),
) {
    let mut found = unsafe { zeroed() };
    loop {
        let code = unsafe { next(&mut cursor, &mut found) };
        match core.next() {
            None => {
                assert_eq!(code, SPOP_END);
                break;
            }
            Some(item) => {
                if same(code, &item) {
                    compare(&found, item.expect("just seen"));
                } else {
                    assert_eq!(Some(cursor.offset), item.err().map(|error| error.offset));
                }
            }
        }
    }
    assert_eq!(unsafe { next(&mut cursor, &mut found) }, SPOP_END);
}

fn messages(cursor: spop_cursor, core: Messages<'_>) {
    walk(cursor, core, spop_message_next, |found, core| {
        assert_eq!(unsafe { bytes(found.name) }, core.name);
        args(found.args, core.args());
        for key in core.args().flatten().map(|kv| kv.key).chain([&b"not there"[..]]) {
            let mut one = unsafe { zeroed() };
            let code = unsafe { spop_arg_find(found, ptr(key), key.len(), &mut one) };
            match core.arg(key) {
                Ok(None) => assert_eq!(code, SPOP_NOT_FOUND),
                core => {
                    if same(code, &core) {
                        assert_eq!(core, Ok(Some(unsafe { value(&one) })));
                    }
                }
            }
        }
    });
}

fn args(cursor: spop_cursor, core: Args<'_>) {
    walk(cursor, core, spop_arg_next, same_pair);
}

fn pairs(cursor: spop_cursor, core: KvList<'_>) {
    walk(cursor, core, spop_kv_next, same_pair);
}

fn same_pair(found: &spop_kv, core: Kv<'_>) {
    assert_eq!((unsafe { bytes(found.key) }, unsafe { value(&found.value) }), (core.key, core.value));
}

fn actions(cursor: spop_cursor, core: Actions<'_>) {
    walk(cursor, core, spop_action_next, |found, core| {
        let (kind, scope, name, content) = match core {
            Action::SetVar { scope, name, value } => (SPOP_ACTION_SET_VAR, scope, name, value),
            Action::UnsetVar { scope, name } => (SPOP_ACTION_UNSET_VAR, scope, name, Value::Null),
        };
        assert_eq!((found.r#type, found.scope), (kind, scope as u32));
        assert_eq!((unsafe { bytes(found.name) }, unsafe { value(&found.value) }), (name, content));
    });
}

/// # Safety
/// What the view points to lives as long as `'a`.
unsafe fn bytes<'a>(view: spop_bytes) -> &'a [u8] {
    if view.len == 0 {
        return &[];
    }
    // SAFETY: as the caller says.
    unsafe { std::slice::from_raw_parts(view.ptr.cast(), view.len) }
}

/// # Safety
/// As for [`bytes`].
unsafe fn value<'a>(value: &spop_value) -> Value<'a> {
    let content = value.r#as;
    // SAFETY: the type says which member was written; views as the caller says.
    unsafe {
        match value.r#type {
            SPOP_TYPE_NULL => Value::Null,
            SPOP_TYPE_BOOL => Value::Bool(content.boolean != 0),
            SPOP_TYPE_INT32 => Value::Int32(i32::try_from(content.int64).expect("32 bits")),
            SPOP_TYPE_UINT32 => Value::UInt32(u32::try_from(content.uint64).expect("32 bits")),
            SPOP_TYPE_INT64 => Value::Int64(content.int64),
            SPOP_TYPE_UINT64 => Value::UInt64(content.uint64),
            SPOP_TYPE_IPV4 => Value::Ipv4(Ipv4Addr::from(content.ipv4)),
            SPOP_TYPE_IPV6 => Value::Ipv6(Ipv6Addr::from(content.ipv6)),
            SPOP_TYPE_STRING => Value::String(bytes(content.bytes)),
            SPOP_TYPE_BINARY => Value::Binary(bytes(content.bytes)),
            other => panic!("type {other}"),
        }
    }
}
