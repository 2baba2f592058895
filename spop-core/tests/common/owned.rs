//! Values, messages and actions that own their bytes, to be written and compared.

use spop_core::{EncodeError, NotifyEncoder, Scope, Value, Writer};

/// An owned [`Value`].
#[derive(Clone, PartialEq, Debug)]
pub enum Val {
    Plain(Value<'static>),
    String(Vec<u8>),
    Binary(Vec<u8>),
}

impl Val {
    pub fn get(&self) -> Value<'_> {
        match self {
            Val::Plain(value) => *value,
            Val::String(bytes) => Value::String(bytes),
            Val::Binary(bytes) => Value::Binary(bytes),
        }
    }
}

/// A key and its value.
pub type Pair = (Vec<u8>, Val);

#[derive(Clone, PartialEq, Debug)]
pub struct Msg {
    pub name: Vec<u8>,
    pub args: Vec<Pair>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    Set(Scope, Vec<u8>, Val),
    Unset(Scope, Vec<u8>),
}

/// Writes `list` into `notify`, up to the first error.
pub fn write_messages(notify: &mut NotifyEncoder<'_>, list: &[Msg]) -> Result<(), EncodeError> {
    for message in list {
        notify.message(&message.name)?;
        for (key, value) in &message.args {
            notify.arg(key, value.get())?;
        }
    }
    Ok(())
}

/// The payload of a NOTIFY.
pub fn payload(list: &[Msg]) -> Vec<u8> {
    let mut buf = vec![0; 64 * 1024];
    let mut notify = NotifyEncoder::payload(&mut buf);
    write_messages(&mut notify, list).unwrap();
    let len = notify.finish();
    buf.truncate(len);
    buf
}

pub fn write_action(w: &mut Writer<'_>, act: &Act) -> Result<(), EncodeError> {
    match act {
        Act::Set(scope, name, value) => w.set_var(*scope, name, value.get()),
        Act::Unset(scope, name) => w.unset_var(*scope, name),
    }
}
