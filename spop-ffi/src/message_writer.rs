//! Writers of messages: whole NOTIFYs, and payloads for fragments.

use core::ffi::c_void;

use spop_core::{FrameId, NotifyEncoder, StreamId, raw};

use crate::error::{Code, spop_error};
use crate::memory::{Out, input, output, run, shared};
use crate::value::spop_value;
use crate::writer::{kind, spop_writer};

impl spop_writer {
    /// Goes on with the messages.
    ///
    /// # Safety
    /// The rules of the crate.
    unsafe fn messages<'a>(this: *mut Self) -> Result<(&'a mut Self, NotifyEncoder<'a>), Code> {
        // SAFETY: the rules of the crate.
        let (this, writer) = unsafe { Self::resume(this, kind::NOTIFY | kind::NOTIFY_PAYLOAD)? };
        let args = (this.mark > 0).then_some((this.mark, this.args as u8));
        let encoder = raw::notify_encoder(writer, this.kind == kind::NOTIFY, args);
        Ok((this, encoder))
    }

    fn keep(&mut self, notify: &NotifyEncoder<'_>) {
        self.len = self.limit.saturating_sub(notify.room());
        let (mark, args) = raw::notify_encoder_args(notify).unwrap_or_default();
        self.mark = mark;
        self.args = args.into();
    }
}

/// Begins a NOTIFY of one's own, without a spop_client. `max_frame_size` is what was negotiated.
#[no_mangle]
pub unsafe extern "C" fn spop_notify_begin_ids(
    stream_id: u64,
    frame_id: u64,
    max_frame_size: u32,
    out: *mut c_void,
    cap: usize,
    notify: *mut spop_writer,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (buf, notify) = unsafe { (output(out, cap)?, Out::new(notify)?) };
        let encoder = NotifyEncoder::new(buf, max_frame_size, StreamId(stream_id), FrameId(frame_id))?;
        notify.set(spop_writer::begun(kind::NOTIFY, out, cap, max_frame_size, encoder.room()));
        Ok(())
    })
}

/// Begins the payload of a NOTIFY without a frame around it, for spop_client_send_fragment().
#[no_mangle]
pub unsafe extern "C" fn spop_notify_begin_payload(
    out: *mut c_void,
    cap: usize,
    notify: *mut spop_writer,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (_, notify) = unsafe { (output(out, cap)?, Out::new(notify)?) };
        notify.set(spop_writer { out, limit: cap, len: 0, mark: 0, args: 0, kind: kind::NOTIFY_PAYLOAD });
        Ok(())
    })
}

/// Begins a message; its arguments follow. If it does not fit, none can.
#[no_mangle]
pub unsafe extern "C" fn spop_notify_message(
    notify: *mut spop_writer,
    name: *const c_void,
    name_len: usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (name, (notify, mut encoder)) = unsafe { (input(name, name_len)?, spop_writer::messages(notify)?) };
        let begun = encoder.message(name);
        // Also if it does not fit: arguments must not go to the message before.
        notify.keep(&encoder);
        Ok(begun?)
    })
}

/// Adds an argument to the last message; an empty key makes it unnamed. SPOP_E_TOO_MANY_ARGS beyond 255,
/// SPOP_E_NO_MESSAGE before the first message and after one that did not fit.
#[no_mangle]
pub unsafe extern "C" fn spop_notify_arg(
    notify: *mut spop_writer,
    key: *const c_void,
    key_len: usize,
    value: *const spop_value,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (key, value) = unsafe { (input(key, key_len)?, shared(value)?.to_core()?) };
        // SAFETY: the same.
        let (notify, mut encoder) = unsafe { spop_writer::messages(notify)? };
        encoder.arg(key, value)?;
        notify.keep(&encoder);
        Ok(())
    })
}

/// Completes a NOTIFY, or its payload: the first `*len` bytes of its buffer.
#[no_mangle]
pub unsafe extern "C" fn spop_notify_finish(notify: *mut spop_writer, len: *mut usize) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (len, (notify, encoder)) = unsafe { (Out::new(len)?, spop_writer::messages(notify)?) };
        len.set(encoder.finish());
        notify.kind = kind::FINISHED;
        Ok(())
    })
}
