//! For the C interface, whose cursors and writers are plain memory between two calls: takes what walks a list or writes a
//! frame apart, and puts it together again. Nothing here is for others, or stays as it is.

use crate::frame::{Actions, FrameEncoder, HelloEncoder, Messages, NotifyEncoder};
use crate::kv::{Args, KvList};
use crate::reader::Reader;
use crate::writer::Writer;

/// A cursor over `bytes` that stand at `offset` in what errors refer to: goes on where another one stopped.
pub const fn reader(bytes: &[u8], offset: usize) -> Reader<'_> {
    Reader::resume(bytes, offset)
}

/// The pairs from `reader` on.
pub const fn kv_list(reader: Reader<'_>) -> KvList<'_> {
    KvList::at(reader)
}

/// Where the next pair begins.
pub const fn kv_list_reader<'a>(list: &KvList<'a>) -> Reader<'a> {
    list.reader()
}

/// The next `count` pairs from `reader` on; a message has at most 255.
pub const fn args(reader: Reader<'_>, count: usize) -> Args<'_> {
    Args::at(reader, count)
}

/// Where the next argument begins.
pub const fn args_reader<'a>(args: &Args<'a>) -> Reader<'a> {
    args.reader()
}

/// The messages that follow these arguments.
pub const fn messages_after(args: Args<'_>) -> Messages<'_> {
    Messages::after(args)
}

/// The arguments of the last message, all of them; the next message follows.
pub fn messages_pending<'a>(messages: &Messages<'a>) -> Args<'a> {
    messages.pending()
}

/// The actions from `reader` on.
pub const fn actions(reader: Reader<'_>) -> Actions<'_> {
    Actions::at(reader)
}

/// Where the next action begins.
pub const fn actions_reader<'a>(actions: &Actions<'a>) -> Reader<'a> {
    actions.reader()
}

/// Goes on where a writer over the same `buf` stopped, `len` bytes written.
pub fn writer(buf: &mut [u8], len: usize) -> Writer<'_> {
    Writer::resume(buf, len)
}

/// Goes on with a frame that an encoder over a writer with the same bytes began.
pub const fn frame_encoder(writer: Writer<'_>) -> FrameEncoder<'_> {
    FrameEncoder::resume(writer)
}

/// Goes on with a HELLO.
pub const fn hello_encoder(frame: FrameEncoder<'_>) -> HelloEncoder<'_> {
    HelloEncoder::resume(frame)
}

/// Goes on with what a `NotifyEncoder` over a writer with the same bytes began. `framed`: it is a whole NOTIFY. `args`:
/// what [`notify_encoder_args`] gave then.
pub const fn notify_encoder(writer: Writer<'_>, framed: bool, args: Option<(usize, u8)>) -> NotifyEncoder<'_> {
    NotifyEncoder::resume(writer, framed, args)
}

/// Position and value of the argument count of the last message; `None` before the first.
pub const fn notify_encoder_args(notify: &NotifyEncoder<'_>) -> Option<(usize, u8)> {
    notify.args()
}
