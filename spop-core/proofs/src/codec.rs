//! Every function of the codec.

use core::error::Error;
use core::fmt::{Debug, Display, Write as _};

use spop_core::encoded_len;
use spop_core::{
    AckEncoder, Action, Actions, AgentHello, Capabilities, DecodeError, Disconnect, DisconnectEncoder, EncodeError,
    Frame, FrameEncoder, HaproxyHello, Header, HelloEncoder, Kv, KvList, Message, Messages, NotifyEncoder,
    ProtocolError, Reader, Reassembler, Scope, Status, Value, Version, Writer, peek_len, raw, supports_2_0, valid,
    varint,
};

use crate::source::{Source, touch};

/// Takes what is written and keeps nothing.
struct Sink;

impl core::fmt::Write for Sink {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        touch(text);
        Ok(())
    }
}

pub fn show(value: &(impl Debug + Display)) {
    touch(write!(Sink, "{value}"));
    show_debug(value);
}

/// Left out of the proof that nothing panics: core's own helpers for `derive(Debug)` and IP addresses contain panics.
pub fn show_debug(value: &impl Debug) {
    #[cfg(not(feature = "no-panic"))]
    touch(write!(Sink, "{value:?}"));
    touch(value);
}

pub fn all(mut source: Source<'_>) {
    let mut out = [0_u8; 4096];
    let out = source.part_of(&mut out);
    varints(&mut source);
    readers(&mut source);
    frames(&mut source);
    grammars(&mut source);
    reassemblers(&mut source, out);
    writers(&mut source, out).err().iter().for_each(show);
    data_encoders(&mut source, out).err().iter().for_each(show);
    control_encoders(&mut source, out).err().iter().for_each(show);
    lengths(&mut source);
}

fn varints(source: &mut Source<'_>) {
    touch(varint::decode(source.bytes()));
    touch((varint::len(source.u64()), varint::encode(source.u64())));
}

fn readers(source: &mut Source<'_>) {
    let mut reader = Reader::new(source.bytes());
    touch(reader.u8());
    touch(reader.u32_be());
    touch(reader.array::<16>());
    touch(reader.bytes(source.u64()));
    touch(reader.varint());
    touch(reader.string());
    touch(Value::decode(&mut reader));
    touch((reader.offset(), reader.remaining(), reader.is_empty()));
    touch(raw::reader(reader.remaining(), source.usize()).offset());
    show_debug(&reader);
}

fn error(error: &DecodeError) {
    touch((error.is_truncated(), error.status(), error.status().reason()));
    show(error);
    let protocol = ProtocolError::from(*error);
    touch(protocol.source().is_some());
    show(&protocol);
}

pub fn kvs(list: KvList<'_>) {
    touch(raw::kv_list(raw::kv_list_reader(&list)).count());
    for kv in list {
        match kv {
            Ok(kv) => self::kv(&kv),
            Err(e) => error(&e),
        }
    }
}

fn kv(kv: &Kv<'_>) {
    let value = kv.value;
    touch((kv.key_str(), value.as_str(), value.as_bytes(), value.as_integer(), value.as_bool()));
    touch((value.as_ip().map(Value::from), value.type_name(), Value::from(Some(&value))));
    touch(write!(Sink, "{value}"));
    touch((value.encoded_len(), value.data_type(), value == Value::Null));
    show_debug(kv);
}

pub fn valid_messages(messages: valid::Messages<'_>, name: &[u8]) {
    touch((messages.size_hint(), messages.len()));
    show_debug(&messages);
    for message in messages {
        touch((message.name_str(), message.arg(name)));
        touch(message.args().len());
        message.args().for_each(|arg| kv(&arg));
        let mut args = message.args();
        while let Some(arg) = args.next() {
            kv(&arg);
            while let Some(value) = args.next_unnamed() {
                touch(value.encoded_len());
            }
        }
        show_debug(&message);
    }
}

pub fn messages(messages: Messages<'_>, name: &[u8]) {
    touch(messages.clone().validate().map(|messages| valid_messages(messages, name)));
    for message in messages.clone() {
        match message {
            Ok(message) => self::message(&message, name),
            Err(e) => error(&e),
        }
    }
    touch(raw::messages_after(raw::messages_pending(&messages)).validate().map(|messages| messages.len()));
    let mut messages = messages;
    while let Some(Ok(mut message)) = messages.next() {
        message.args.next().iter().flatten().for_each(kv);
        messages.resume(message.args);
    }
}

fn message(message: &Message<'_>, name: &[u8]) {
    touch(raw::args(raw::args_reader(&message.args), message.args.len()).count());
    touch((message.name_str(), message.args.len(), message.args().count()));
    touch(message.arg(name));
    message.args().flatten().for_each(|kv| self::kv(&kv));
    show_debug(message);
}

pub fn actions(actions: Actions<'_>) {
    touch(raw::actions(raw::actions_reader(&actions)).count());
    for action in actions {
        match action {
            Ok(action @ (Action::SetVar { scope, .. } | Action::UnsetVar { scope, .. })) => {
                touch(scope.prefix());
                show_debug(&action);
            }
            Err(e) => error(&e),
        }
    }
}

fn frames(source: &mut Source<'_>) {
    let body = source.bytes();
    let name = source.bytes();
    touch((peek_len(body, source.u32()), Header::peek(body)));
    messages(Messages::new(body), name);
    actions(Actions::new(body));
    kvs(KvList::new(body));
    let Ok(frame) = Frame::decode(body) else { return };
    let Header { frame_type, flags, .. } = frame.header;
    touch((
        frame_type.name(),
        flags.fin(),
        flags.abort(),
        frame.header.encoded_len(),
        frame.header.is_first_fragment(),
    ));
    show(&frame_type);
    messages(frame.messages(), name);
    actions(frame.actions());
    kvs(frame.kv());
    hellos(&frame);
    match Disconnect::parse(&frame) {
        Ok(disconnect) => {
            touch(disconnect.message_str());
            disconnect.status.iter().for_each(show);
        }
        Err(e) => error(&e),
    }
    show_debug(&frame);
}

fn hellos(frame: &Frame<'_>) {
    match HaproxyHello::parse(frame) {
        Ok(hello) => show_debug(&hello),
        Err(e) => error(&e),
    }
    match AgentHello::parse(frame) {
        Ok(hello) => show_debug(&hello),
        Err(e) => error(&e),
    }
}

fn grammars(source: &mut Source<'_>) {
    touch(supports_2_0(source.bytes()));
    touch(Version::parse(source.bytes()));
    let (a, b) = (Capabilities::parse(source.bytes()), Capabilities::parse(source.bytes()));
    touch((a.contains(b), a.intersection(b), a.union(b), a.without(b), a | b));
    touch((source.text().parse::<Capabilities>(), source.text().parse::<Version>(), source.text().parse::<Scope>()));
    touch(write!(Sink, "{a} {} {}", source.version(), source.scope()));
    "".parse::<Scope>().err().iter().for_each(show);
    a.names().for_each(touch);
    touch(Scope::from_u8(source.u8()).map(Scope::prefix));
    show(&Status(source.u32()));
}

fn reassemblers(source: &mut Source<'_>, memory: &mut [u8]) {
    let mut reassembler = Reassembler::new(source.u32());
    for _ in 0..source.u8() {
        let ids = source.ids();
        match source.u8() {
            0 => reassembler.start(ids, source.bytes(), memory),
            1 => reassembler.push(source.bytes(), memory),
            2 => touch(reassembler.finish()),
            3 => reassembler.abort(),
            _ => touch((reassembler.in_progress(), reassembler.is_open(ids))),
        }
        show_debug(&reassembler);
    }
}

fn writers(source: &mut Source<'_>, out: &mut [u8]) -> Result<(), EncodeError> {
    let mut writer = Writer::new(out);
    writer.bytes(source.bytes())?;
    writer.u8(source.u8())?;
    writer.u32_be(source.u32())?;
    writer.varint(source.u64())?;
    writer.string(source.bytes())?;
    writer.value(&source.value())?;
    writer.kv(source.bytes(), &source.value())?;
    writer.set_var(source.scope(), source.bytes(), &source.value())?;
    writer.unset_var(source.scope(), source.bytes())?;
    touch(writer.transaction(|w| w.u32_be(source.u32()).and_then(|()| w.string(source.bytes()))));
    touch((writer.len(), writer.is_empty(), writer.room(), writer.written()));
    show_debug(&writer);
    Ok(())
}

fn data_encoders(source: &mut Source<'_>, out: &mut [u8]) -> Result<(), EncodeError> {
    let max = source.u32();
    let mut frame = FrameEncoder::new(out, max, source.header())?;
    touch(frame.payload().bytes(source.bytes()));
    touch(frame.finish());

    let (stream_id, frame_id) = source.ids();
    let mut ack = AckEncoder::new(out, max, stream_id, frame_id)?;
    for _ in 0..source.u8() {
        match source.u8() {
            0 => ack.clear(),
            1 => ack.unset_var(source.scope(), source.bytes())?,
            _ => ack.set_var(source.scope(), source.bytes(), &source.value())?,
        }
        touch(ack.room());
    }
    touch(ack.finish());

    let notify = NotifyEncoder::new(out, max, stream_id, frame_id)?;
    let args = raw::notify_encoder_args(&notify);
    fill(source, notify)?;
    let (len, framed) = (source.u32() as usize, source.bool());
    fill(source, raw::notify_encoder(raw::writer(out, len), framed, args))?;
    fill(source, NotifyEncoder::payload(out))
}

pub fn fill(source: &mut Source<'_>, mut notify: NotifyEncoder<'_>) -> Result<(), EncodeError> {
    for _ in 0..source.u8() {
        match source.u8() {
            0 => notify.encoded(source.bytes())?,
            1 => notify.message(source.bytes())?,
            _ => notify.arg(source.bytes(), &source.value())?,
        }
        touch(notify.room());
    }
    show_debug(&notify);
    touch(notify.finish());
    Ok(())
}

fn control_encoders(source: &mut Source<'_>, out: &mut [u8]) -> Result<(), EncodeError> {
    let max = source.u32();
    let mut hello = if source.bool() { HelloEncoder::agent(out, max)? } else { HelloEncoder::haproxy(out, max)? };
    hello.version(source.version())?;
    hello.supported_versions(source.version())?;
    hello.max_frame_size(source.u32())?;
    hello.capabilities(source.capabilities())?;
    hello.healthcheck(source.bool())?;
    hello.engine_id(source.bytes())?;
    hello.kv(source.bytes(), &source.value())?;
    touch(hello.finish());
    let hello = raw::hello_encoder(raw::frame_encoder(raw::writer(out, source.usize())));
    touch((hello.room(), hello.finish()));

    let status = source.status();
    let mut disconnect = if source.bool() {
        DisconnectEncoder::agent(out, max, status)?
    } else {
        DisconnectEncoder::haproxy(out, max, status)?
    };
    disconnect.message(source.bytes())?;
    touch(disconnect.finish());
    Ok(())
}

fn lengths(source: &mut Source<'_>) {
    let (stream_id, frame_id) = source.ids();
    touch(encoded_len::frame(stream_id, frame_id, source.usize()));
    touch((encoded_len::string(source.bytes()), encoded_len::message(source.bytes())));
    touch((encoded_len::kv(source.bytes(), &source.value()), encoded_len::unset_var(source.bytes())));
    touch(encoded_len::set_var(source.bytes(), &source.value()));
}
