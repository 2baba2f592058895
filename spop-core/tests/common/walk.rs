//! Walks over decoded payloads that write again what they read.

use spop_core::{
    Action, Actions, DecodeError, EncodeError, Frame, FrameEncoder, FrameType, KvList, Messages, PREFIX_LEN, Writer,
    valid,
};

/// The payload of `frame` as its type says, written again; a fragment's bytes as they are.
pub fn payload(frame: &Frame<'_>) -> Result<Vec<u8>, DecodeError> {
    match frame.header.frame_type {
        FrameType::NOTIFY if frame.header.flags.fin() => messages(frame.messages()),
        FrameType::ACK => actions(frame.actions()).map_err(|(_, error)| error),
        FrameType::HAPROXY_HELLO
        | FrameType::HAPROXY_DISCONNECT
        | FrameType::AGENT_HELLO
        | FrameType::AGENT_DISCONNECT => kv(frame.kv()),
        _ => Ok(frame.payload.to_vec()),
    }
}

/// The whole frame written again by the raw encoder.
pub fn reencode(frame: &Frame<'_>) -> Result<Vec<u8>, DecodeError> {
    let payload = payload(frame)?;
    let mut buf = vec![0xAA; PREFIX_LEN + frame.header.encoded_len() + payload.len()];
    let mut encoder = FrameEncoder::new(&mut buf, u32::MAX, frame.header).unwrap();
    encoder.payload().bytes(&payload).unwrap();
    assert_eq!(encoder.finish(), buf.len());
    Ok(buf)
}

pub fn messages(list: Messages<'_>) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    for message in list {
        let message = message?;
        let announced = message.args.len();
        append(&mut out, |w| w.string(message.name));
        out.push(u8::try_from(announced).unwrap());
        let mut found = 0;
        for kv in message.args() {
            let kv = kv?;
            append(&mut out, |w| w.kv(kv.key, kv.value));
            found += 1;
        }
        assert_eq!(found, announced);
    }
    Ok(out)
}

/// Messages without errors.
pub fn valid_messages(list: valid::Messages<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for message in list {
        append(&mut out, |w| w.string(message.name));
        out.push(u8::try_from(message.args().len()).unwrap());
        message.args().for_each(|kv| append(&mut out, |w| w.kv(kv.key, kv.value)));
    }
    out
}

/// The actions; with an error, those before it.
pub fn actions(list: Actions<'_>) -> Result<Vec<u8>, (Vec<u8>, DecodeError)> {
    let mut out = Vec::new();
    for action in list {
        match action {
            Ok(Action::SetVar { scope, name, value }) => append(&mut out, |w| w.set_var(scope, name, value)),
            Ok(Action::UnsetVar { scope, name }) => append(&mut out, |w| w.unset_var(scope, name)),
            Err(error) => return Err((out, error)),
        }
    }
    Ok(out)
}

pub fn kv(list: KvList<'_>) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    for kv in list {
        let kv = kv?;
        append(&mut out, |w| w.kv(kv.key, kv.value));
    }
    Ok(out)
}

/// Appends to a vector what `write` writes, in as much room as it takes.
pub fn append(out: &mut Vec<u8>, write: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>) {
    let mut buf = vec![0; 64];
    loop {
        let mut writer = Writer::new(&mut buf);
        match write(&mut writer) {
            Ok(()) => return out.extend_from_slice(writer.written()),
            Err(error) => assert_eq!(error, EncodeError::NoSpace),
        }
        buf.resize(buf.len() * 2, 0);
    }
}
