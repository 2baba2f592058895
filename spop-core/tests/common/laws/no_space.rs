//! Buffers of any length: a call that does not fit changes nothing, and the encoder goes on.

use spop_core::{AckEncoder, EncodeError, FrameId, FrameType, NotifyEncoder, StreamId, Writer};

use crate::common::owned::{Act, Msg, Pair, payload, write_action};
use crate::common::{raw_frame, walk};

const PAINT: u8 = 0xA5;

/// Writes what fits of `list`; the messages that are in.
fn fill_notify(notify: &mut NotifyEncoder<'_>, list: &[Msg]) -> Vec<Msg> {
    let mut written: Vec<Msg> = Vec::new();
    for message in list {
        let room = notify.room();
        if notify.message(&message.name).is_err() {
            assert_eq!(notify.room(), room);
            continue;
        }
        let mut args = Vec::new();
        for (key, value) in &message.args {
            let room = notify.room();
            match notify.arg(key, value.get()) {
                Ok(()) => args.push((key.clone(), value.clone())),
                Err(error) => assert_eq!((error, notify.room()), (EncodeError::NoSpace, room)),
            }
        }
        written.push(Msg { name: message.name.clone(), args });
    }
    written
}

/// A NOTIFY of at most `limit` bytes: by the buffer's length, or `by_size`, by a max-frame-size of `limit - 4`, which must
/// not be negative, in a longer buffer.
pub fn notify(list: &[Msg], limit: usize, by_size: bool) {
    let mut buf = vec![PAINT; limit + 8];
    let (room, max) = if by_size { (buf.len(), limit as u32 - 4) } else { (limit, u32::MAX) };
    let header = 4 + 5 + 2 + 1;
    let Ok(mut notify) = NotifyEncoder::new(&mut buf[..room], max, StreamId(300), FrameId(1)) else {
        assert!(limit < header);
        return;
    };
    assert!(limit >= header);
    let written = fill_notify(&mut notify, list);
    let len = notify.finish();
    assert!(len <= limit);
    assert_eq!(&buf[..len], &raw_frame(FrameType::NOTIFY, 1, (300, 1), &payload(&written))[..]);
    assert!(buf[limit..].iter().all(|&b| b == PAINT), "written beyond the limit");
}

/// An ACK in a buffer of `limit` bytes.
pub fn ack(list: &[Act], limit: usize) {
    let mut buf = vec![PAINT; limit + 8];
    let Ok(mut ack) = AckEncoder::new(&mut buf[..limit], u32::MAX, StreamId(1), FrameId(1)) else {
        assert!(limit < 11);
        return;
    };
    let mut expected = Vec::new();
    for act in list {
        let room = ack.room();
        let result = match act {
            Act::Set(scope, name, value) => ack.set_var(*scope, name, value.get()),
            Act::Unset(scope, name) => ack.unset_var(*scope, name),
        };
        match result {
            Ok(()) => walk::append(&mut expected, |w| write_action(w, act)),
            Err(error) => assert_eq!((error, ack.room()), (EncodeError::NoSpace, room)),
        }
    }
    let len = ack.finish();
    assert_eq!(&buf[..len], &raw_frame(FrameType::ACK, 1, (1, 1), &expected)[..]);
    assert!(buf[limit..].iter().all(|&b| b == PAINT), "written beyond the limit");
}

/// The bytes below the length are the same after a failure.
pub fn writer(list: &[Pair], acts: &[Act], limit: usize) {
    let mut buf = vec![PAINT; limit];
    let mut writer = Writer::new(&mut buf);
    let mut check = |write: &dyn Fn(&mut Writer<'_>) -> Result<(), EncodeError>| {
        let (before, room) = (writer.written().to_vec(), writer.room());
        match write(&mut writer) {
            Ok(()) => assert!(writer.written().starts_with(&before)),
            Err(error) => {
                assert_eq!(error, EncodeError::NoSpace);
                assert_eq!((writer.written(), writer.room()), (&before[..], room));
            }
        }
        assert_eq!(writer.len() + writer.room(), limit);
    };
    for (key, value) in list {
        check(&|w| w.kv(key, value.get()));
        check(&|w| w.value(value.get()));
        check(&|w| w.string(key));
        check(&|w| w.bytes(key));
        check(&|w| w.varint(264_432));
        check(&|w| w.u32_be(7));
        check(&|w| w.u8(7));
    }
    for act in acts {
        check(&|w| write_action(w, act));
    }
}
