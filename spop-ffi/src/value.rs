//! Typed values.

use core::ffi::c_void;
use core::net::{Ipv4Addr, Ipv6Addr};

use spop_core::{Reader, Value, Writer};

use crate::error::{Code, SPOP_E_ARGUMENT, spop_error};
use crate::memory::{Out, input, output, run, shared, spop_bytes};

/// No value: HAProxy found nothing. As the value of set-var it unsets the variable.
pub const SPOP_TYPE_NULL: u32 = 0;
/// A boolean, in `as.boolean`.
pub const SPOP_TYPE_BOOL: u32 = 1;
/// A signed integer of 32 bits, in `as.int64`. Prefer INT64, which every HAProxy reads the same way.
pub const SPOP_TYPE_INT32: u32 = 2;
/// An unsigned integer of 32 bits, in `as.uint64`.
pub const SPOP_TYPE_UINT32: u32 = 3;
/// A signed integer of 64 bits, in `as.int64`. Every integer argument from HAProxy is one.
pub const SPOP_TYPE_INT64: u32 = 4;
/// An unsigned integer of 64 bits, in `as.uint64`. HAProxy takes values above INT64_MAX for negative ones.
pub const SPOP_TYPE_UINT64: u32 = 5;
/// An IPv4 address in network order, in `as.ipv4`.
pub const SPOP_TYPE_IPV4: u32 = 6;
/// An IPv6 address in network order, in `as.ipv6`.
pub const SPOP_TYPE_IPV6: u32 = 7;
/// A string, in `as.bytes`: bytes, not necessarily UTF-8, NUL included.
pub const SPOP_TYPE_STRING: u32 = 8;
/// Binary data, in `as.bytes`.
pub const SPOP_TYPE_BINARY: u32 = 9;
/// No type of the protocol: what spop_ipv4() and spop_ipv6() make of NULL. Writers refuse it.
pub const SPOP_TYPE_INVALID: u32 = 255;

/// The content of a value; its type says which member.
#[repr(C)]
#[derive(Clone, Copy)]
pub union spop_value_content {
    /// BOOL: 0 is false, all else true.
    pub boolean: u8,
    /// INT32 and INT64.
    pub int64: i64,
    /// UINT32 and UINT64.
    pub uint64: u64,
    /// IPV4.
    pub ipv4: [u8; 4],
    /// IPV6.
    pub ipv6: [u8; 16],
    /// STRING and BINARY.
    pub bytes: spop_bytes,
}

/// A typed value. STRING and BINARY point to bytes that belong to somebody else.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct spop_value {
    /// SPOP_TYPE_NULL to SPOP_TYPE_BINARY.
    pub r#type: u32,
    /// The content.
    pub r#as: spop_value_content,
}

impl spop_value {
    fn new(kind: u32, content: spop_value_content) -> Self {
        spop_value { r#type: kind, r#as: content }
    }

    /// The value as the core has it.
    ///
    /// # Safety
    /// The rules of the crate.
    pub(crate) unsafe fn to_core<'a>(self) -> Result<Value<'a>, Code> {
        let content = self.r#as;
        // SAFETY: the member of the type is set by rule 5, and any bits are an integer or a pointer; rule 1 for the latter.
        unsafe {
            Ok(match self.r#type {
                SPOP_TYPE_NULL => Value::Null,
                SPOP_TYPE_BOOL => Value::Bool(content.boolean != 0),
                SPOP_TYPE_INT32 => Value::Int32(narrow(content.int64)?),
                SPOP_TYPE_UINT32 => Value::UInt32(narrow(content.uint64)?),
                SPOP_TYPE_INT64 => Value::Int64(content.int64),
                SPOP_TYPE_UINT64 => Value::UInt64(content.uint64),
                SPOP_TYPE_IPV4 => Value::Ipv4(Ipv4Addr::from(content.ipv4)),
                SPOP_TYPE_IPV6 => Value::Ipv6(Ipv6Addr::from(content.ipv6)),
                SPOP_TYPE_STRING => Value::String(input(content.bytes.ptr.cast(), content.bytes.len)?),
                SPOP_TYPE_BINARY => Value::Binary(input(content.bytes.ptr.cast(), content.bytes.len)?),
                _ => return Err(Code(SPOP_E_ARGUMENT)),
            })
        }
    }
}

fn narrow<A, B: TryFrom<A>>(wide: A) -> Result<B, Code> {
    B::try_from(wide).map_err(|_| Code(SPOP_E_ARGUMENT))
}

impl From<Value<'_>> for spop_value {
    #[inline]
    fn from(value: Value<'_>) -> Self {
        let content = match value {
            Value::Null => spop_value_content { ipv6: [0; 16] },
            Value::Bool(b) => spop_value_content { boolean: b.into() },
            Value::Int32(n) => spop_value_content { int64: n.into() },
            Value::UInt32(n) => spop_value_content { uint64: n.into() },
            Value::Int64(n) => spop_value_content { int64: n },
            Value::UInt64(n) => spop_value_content { uint64: n },
            Value::Ipv4(ip) => spop_value_content { ipv4: ip.octets() },
            Value::Ipv6(ip) => spop_value_content { ipv6: ip.octets() },
            Value::String(bytes) | Value::Binary(bytes) => spop_value_content { bytes: bytes.into() },
        };
        spop_value::new(value.data_type().into(), content)
    }
}

/// A NULL value.
#[no_mangle]
pub extern "C" fn spop_null() -> spop_value {
    Value::Null.into()
}

/// A BOOL; 0 is false, all else true.
#[no_mangle]
pub extern "C" fn spop_bool(boolean: i32) -> spop_value {
    Value::Bool(boolean != 0).into()
}

/// An INT32. Prefer spop_int64().
#[no_mangle]
pub extern "C" fn spop_int32(number: i32) -> spop_value {
    Value::Int32(number).into()
}

/// An UINT32.
#[no_mangle]
pub extern "C" fn spop_uint32(number: u32) -> spop_value {
    Value::UInt32(number).into()
}

/// An INT64.
#[no_mangle]
pub extern "C" fn spop_int64(number: i64) -> spop_value {
    Value::Int64(number).into()
}

/// An UINT64. HAProxy takes values above INT64_MAX for negative ones.
#[no_mangle]
pub extern "C" fn spop_uint64(number: u64) -> spop_value {
    Value::UInt64(number).into()
}

/// An IPV4 from 4 bytes in network order, for example a struct in_addr. They are copied. Of NULL: SPOP_TYPE_INVALID.
#[no_mangle]
pub unsafe extern "C" fn spop_ipv4(address: *const c_void) -> spop_value {
    // SAFETY: the rules of the crate; bytes need no alignment.
    match unsafe { shared(address.cast::<[u8; 4]>()) } {
        Ok(&octets) => Value::Ipv4(Ipv4Addr::from(octets)).into(),
        Err(_) => spop_value { r#type: SPOP_TYPE_INVALID, ..spop_null() },
    }
}

/// An IPV6 from 16 bytes in network order, for example a struct in6_addr. They are copied. Of NULL: SPOP_TYPE_INVALID.
#[no_mangle]
pub unsafe extern "C" fn spop_ipv6(address: *const c_void) -> spop_value {
    // SAFETY: the rules of the crate; bytes need no alignment.
    match unsafe { shared(address.cast::<[u8; 16]>()) } {
        Ok(&octets) => Value::Ipv6(Ipv6Addr::from(octets)).into(),
        Err(_) => spop_value { r#type: SPOP_TYPE_INVALID, ..spop_null() },
    }
}

/// A STRING of `len` bytes, which have to stay there until it is written.
#[no_mangle]
pub extern "C" fn spop_string(text: *const c_void, len: usize) -> spop_value {
    spop_value::new(SPOP_TYPE_STRING, spop_value_content { bytes: spop_bytes { ptr: text.cast(), len } })
}

/// A BINARY of `len` bytes, which have to stay there until it is written.
#[no_mangle]
pub extern "C" fn spop_binary(data: *const c_void, len: usize) -> spop_value {
    spop_value::new(SPOP_TYPE_BINARY, spop_value_content { bytes: spop_bytes { ptr: data.cast(), len } })
}

/// Reads a typed value at the start of `data` into `*value`, which then points into `data`, and how many bytes it took
/// into `*used`. Flags of the type byte are ignored, but for the value of BOOL.
///
/// SPOP_E_TRUNCATED (read more and try again, unless this is a whole frame), SPOP_E_RESERVED_TYPE, SPOP_E_INTEGER_RANGE,
/// the errors of a varint.
#[no_mangle]
pub unsafe extern "C" fn spop_value_decode(
    data: *const c_void,
    len: usize,
    value: *mut spop_value,
    used: *mut usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (data, value, used) = unsafe { (input(data, len)?, Out::new(value)?, Out::new(used)?) };
        let mut reader = Reader::new(data);
        value.set(Value::decode(&mut reader)?.into());
        used.set(reader.offset());
        Ok(())
    })
}

/// Writes a typed value to `out`, and its length into `*len`.
///
/// SPOP_E_NO_SPACE if `cap` bytes do not suffice. SPOP_E_ARGUMENT for an unknown type, and for an INT32 or UINT32 that
/// does not fit 32 bits; so in all functions that take a value.
#[no_mangle]
pub unsafe extern "C" fn spop_value_encode(
    value: *const spop_value,
    out: *mut c_void,
    cap: usize,
    len: *mut usize,
) -> spop_error {
    run(|| {
        // SAFETY: the rules of the crate.
        let (value, out, len) = unsafe { (shared(value)?.to_core()?, output(out, cap)?, Out::new(len)?) };
        let mut writer = Writer::new(out);
        writer.value(value)?;
        len.set(writer.len());
        Ok(())
    })
}

/// The number of bytes that spop_value_encode() writes; 0 for a value that it refuses.
#[no_mangle]
pub unsafe extern "C" fn spop_value_len(value: *const spop_value) -> usize {
    // SAFETY: the rules of the crate.
    match unsafe { shared(value).and_then(|value| value.to_core()) } {
        Ok(value) => value.encoded_len(),
        Err(_) => 0,
    }
}
