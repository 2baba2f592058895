//! The numbers of the C interface: constants are those of the core, and sizes those that tests/bounds.c expects of the
//! header.

use spop::*;
use spop_core::{
    ACTION_SET_VAR, ACTION_UNSET_VAR, Capabilities, Flags, FrameType, MAX_HEADER_LEN, MAX_TRANSMIT_LEN,
    MIN_MAX_FRAME_SIZE, PREFIX_LEN, Scope, Status, data_type, varint,
};
use std::mem::{offset_of, size_of};

#[test]
fn constants_are_those_of_the_core() {
    let types = [
        (SPOP_TYPE_NULL, data_type::NULL),
        (SPOP_TYPE_BOOL, data_type::BOOL),
        (SPOP_TYPE_INT32, data_type::INT32),
        (SPOP_TYPE_UINT32, data_type::UINT32),
        (SPOP_TYPE_INT64, data_type::INT64),
        (SPOP_TYPE_UINT64, data_type::UINT64),
        (SPOP_TYPE_IPV4, data_type::IPV4),
        (SPOP_TYPE_IPV6, data_type::IPV6),
        (SPOP_TYPE_STRING, data_type::STRING),
        (SPOP_TYPE_BINARY, data_type::BINARY),
        (SPOP_FRAME_UNSET, FrameType::UNSET.0),
        (SPOP_FRAME_HAPROXY_HELLO, FrameType::HAPROXY_HELLO.0),
        (SPOP_FRAME_HAPROXY_DISCONNECT, FrameType::HAPROXY_DISCONNECT.0),
        (SPOP_FRAME_NOTIFY, FrameType::NOTIFY.0),
        (SPOP_FRAME_AGENT_HELLO, FrameType::AGENT_HELLO.0),
        (SPOP_FRAME_AGENT_DISCONNECT, FrameType::AGENT_DISCONNECT.0),
        (SPOP_FRAME_ACK, FrameType::ACK.0),
        (SPOP_ACTION_SET_VAR, ACTION_SET_VAR),
        (SPOP_ACTION_UNSET_VAR, ACTION_UNSET_VAR),
        (SPOP_SCOPE_PROCESS, Scope::Process as u8),
        (SPOP_SCOPE_SESSION, Scope::Session as u8),
        (SPOP_SCOPE_TRANSACTION, Scope::Transaction as u8),
        (SPOP_SCOPE_REQUEST, Scope::Request as u8),
        (SPOP_SCOPE_RESPONSE, Scope::Response as u8),
    ];
    for (c, core) in types {
        assert_eq!(c, u32::from(core));
    }
    assert_eq!((SPOP_FLAG_FIN, SPOP_FLAG_ABORT), (Flags::FIN.0, Flags::ABORT.0));
    assert_eq!((SPOP_PREFIX_LEN, SPOP_MAX_HEADER_LEN), (PREFIX_LEN, MAX_HEADER_LEN));
    assert_eq!((SPOP_MAX_TRANSMIT_LEN, SPOP_VARINT_MAX_LEN), (MAX_TRANSMIT_LEN, varint::MAX_LEN));
    assert_eq!(SPOP_MIN_MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE);
    for (c, name) in
        [(SPOP_CAP_PIPELINING, "pipelining"), (SPOP_CAP_ASYNC, "async"), (SPOP_CAP_FRAGMENTATION, "fragmentation")]
    {
        let mut set = 0;
        // SAFETY: both point to what they say.
        assert_eq!(unsafe { spop_capabilities_parse(name.as_ptr().cast(), name.len(), &mut set) }, SPOP_OK);
        assert_eq!(set, c);
        assert_ne!(Capabilities::parse(name.as_bytes()), Capabilities::NONE);
    }
    let statuses = [
        (SPOP_STATUS_NORMAL, Status::NORMAL),
        (SPOP_STATUS_IO_ERROR, Status::IO_ERROR),
        (SPOP_STATUS_TIMEOUT, Status::TIMEOUT),
        (SPOP_STATUS_FRAME_TOO_BIG, Status::FRAME_TOO_BIG),
        (SPOP_STATUS_INVALID_FRAME, Status::INVALID_FRAME),
        (SPOP_STATUS_NO_VERSION, Status::NO_VERSION),
        (SPOP_STATUS_NO_MAX_FRAME_SIZE, Status::NO_MAX_FRAME_SIZE),
        (SPOP_STATUS_NO_CAPABILITIES, Status::NO_CAPABILITIES),
        (SPOP_STATUS_UNSUPPORTED_VERSION, Status::UNSUPPORTED_VERSION),
        (SPOP_STATUS_BAD_MAX_FRAME_SIZE, Status::BAD_MAX_FRAME_SIZE),
        (SPOP_STATUS_NO_FRAGMENTATION, Status::NO_FRAGMENTATION),
        (SPOP_STATUS_INTERLACED_FRAMES, Status::INTERLACED_FRAMES),
        (SPOP_STATUS_FRAME_ID_NOT_FOUND, Status::FRAME_ID_NOT_FOUND),
        (SPOP_STATUS_RESOURCES, Status::RESOURCES),
        (SPOP_STATUS_UNKNOWN, Status::UNKNOWN),
    ];
    for (c, core) in statuses {
        assert_eq!(Status(c), core);
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
fn sizes() {
    assert_eq!((size_of::<spop_bytes>(), size_of::<spop_value>(), size_of::<spop_kv>()), (16, 24, 40));
    assert_eq!((size_of::<spop_cursor>(), size_of::<spop_message>(), size_of::<spop_action>()), (32, 48, 48));
    assert_eq!((size_of::<spop_frame>(), size_of::<spop_hello>(), size_of::<spop_disconnect>()), (40, 48, 24));
    assert_eq!((size_of::<spop_writer>(), size_of::<spop_event>()), (40, 88));
    assert_eq!((size_of::<spop_agent_config>(), size_of::<spop_client_config>()), (64, 48));
    assert_eq!((size_of::<spop_agent_stats>(), size_of::<spop_client_stats>()), (80, 40));
    assert_eq!((offset_of!(spop_event, r#as), offset_of!(spop_frame, payload)), (8, 24));
    assert_eq!(offset_of!(spop_action, value), 24);
}
