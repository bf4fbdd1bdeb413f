//! The server's side of Postgres' protocol, as far as the driver speaks it to us (PostgreSQL manual, chapter 55).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A message of the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frontend {
    Query(String),
    Parse { name: String, sql: String },
    Describe { name: String },
    Bind { name: String, params: Vec<Option<Bytes>> },
    Execute,
    Close { name: String },
    Sync,
    Terminate,
    Other,
}

/// Takes the first message of a connection off `buffer`, once it is whole; what it says does not matter here.
pub(super) fn take_startup(buffer: &mut BytesMut) -> bool {
    let Some(length) = length_at(buffer, 0) else {
        return false;
    };
    if buffer.len() < length {
        return false;
    }
    buffer.advance(length);
    true
}

/// Takes the next message off `buffer`, once it is whole.
pub(super) fn take(buffer: &mut BytesMut) -> Option<Frontend> {
    let length = length_at(buffer, 1)? + 1;
    if buffer.len() < length {
        return None;
    }
    let mut message = buffer.split_to(length).freeze();
    let kind = message.get_u8();
    message.advance(4);
    Some(match kind {
        b'Q' => Frontend::Query(text(&mut message)),
        b'P' => Frontend::Parse {
            name: text(&mut message),
            sql: text(&mut message),
        },
        b'D' => {
            message.advance(1);
            Frontend::Describe {
                name: text(&mut message),
            }
        }
        b'B' => bind(&mut message),
        b'E' => Frontend::Execute,
        b'C' => {
            message.advance(1);
            Frontend::Close {
                name: text(&mut message),
            }
        }
        b'S' => Frontend::Sync,
        b'X' => Frontend::Terminate,
        _ => Frontend::Other,
    })
}

fn length_at(buffer: &BytesMut, offset: usize) -> Option<usize> {
    let bytes: [u8; 4] = buffer.get(offset..offset + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes) as usize)
}

fn text(message: &mut Bytes) -> String {
    let end = message.iter().position(|byte| *byte == 0).unwrap_or(message.len());
    let text = String::from_utf8_lossy(&message.split_to(end)).into_owned();
    message.advance(usize::from(!message.is_empty()));
    text
}

fn bind(message: &mut Bytes) -> Frontend {
    let _portal = text(message);
    let name = text(message);
    let formats = usize::from(message.get_u16());
    message.advance(formats * 2);
    let count = message.get_u16();
    let param = |_| {
        let length = message.get_i32();
        (length >= 0).then(|| message.split_to(length as usize))
    };
    let params = (0..count).map(param).collect();
    Frontend::Bind { name, params }
}

/// A type of Postgres' that we answer with, by its number in `pg_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool = 16,
    Bytea = 17,
    Name = 19,
    Int8 = 20,
    Int4 = 23,
    Text = 25,
    NameArray = 1003,
    TextArray = 1009,
    Int8Array = 1016,
}

/// A value of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Bytes(Vec<u8>),
    Int4(i32),
    Int8(i64),
    Text(String),
    Int8s(Vec<i64>),
    Texts(Vec<String>),
}

impl Value {
    fn write_binary(&self, out: &mut BytesMut) {
        let array = |out: &mut BytesMut, kind: Kind, elements: Vec<Self>| {
            out.put_i32(i32::from(!elements.is_empty()));
            out.put_i32(0);
            out.put_i32(kind as i32);
            if !elements.is_empty() {
                out.put_i32(elements.len() as i32);
                out.put_i32(1);
                for element in &elements {
                    sized(out, |out| element.write_binary(out));
                }
            }
        };
        match self {
            Self::Null => {}
            Self::Bool(value) => out.put_u8(u8::from(*value)),
            Self::Bytes(value) => out.put_slice(value),
            Self::Int4(value) => out.put_i32(*value),
            Self::Int8(value) => out.put_i64(*value),
            Self::Text(value) => out.put_slice(value.as_bytes()),
            Self::Int8s(values) => array(out, Kind::Int8, values.iter().copied().map(Self::Int8).collect()),
            Self::Texts(values) => array(out, Kind::Text, values.iter().cloned().map(Self::Text).collect()),
        }
    }

    fn write_text(&self, out: &mut BytesMut) {
        match self {
            Self::Int4(value) => out.put_slice(value.to_string().as_bytes()),
            Self::Int8(value) => out.put_slice(value.to_string().as_bytes()),
            Self::Bool(value) => out.put_u8(if *value { b't' } else { b'f' }),
            Self::Null | Self::Bytes(_) | Self::Int8s(_) | Self::Texts(_) => {}
            Self::Text(value) => out.put_slice(value.as_bytes()),
        }
    }
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text = 0,
    Binary = 1,
}

/// An error as the server words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Answers, gathered until they are sent.
#[derive(Debug, Default)]
pub(super) struct Answers(pub(super) BytesMut);

impl Answers {
    pub(super) fn welcome(&mut self, pid: i32) {
        self.message(b'R', |out| out.put_i32(0));
        self.message(b'K', |out| {
            out.put_i32(pid);
            out.put_i32(0);
        });
        self.ready(b'I');
    }

    pub(super) fn ready(&mut self, status: u8) {
        self.message(b'Z', |out| out.put_u8(status));
    }

    pub(super) fn plain(&mut self, kind: u8) {
        self.message(kind, |_| {});
    }

    pub(super) fn parameters(&mut self, kinds: &[Kind]) {
        self.message(b't', |out| {
            out.put_u16(kinds.len() as u16);
            for kind in kinds {
                out.put_i32(*kind as i32);
            }
        });
    }

    pub(super) fn columns(&mut self, columns: &[(&str, Kind)], format: Format) {
        self.message(b'T', |out| {
            out.put_u16(columns.len() as u16);
            for (name, kind) in columns {
                out.put_slice(name.as_bytes());
                out.put_u8(0);
                out.put_i32(0);
                out.put_i16(0);
                out.put_i32(*kind as i32);
                out.put_i16(-1);
                out.put_i32(-1);
                out.put_i16(format as i16);
            }
        });
    }

    pub(super) fn row(&mut self, values: &[Value], format: Format) {
        self.message(b'D', |out| {
            out.put_u16(values.len() as u16);
            for value in values {
                if *value == Value::Null {
                    out.put_i32(-1);
                } else if format == Format::Binary {
                    sized(out, |out| value.write_binary(out));
                } else {
                    sized(out, |out| value.write_text(out));
                }
            }
        });
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.message(b'C', |out| {
            out.put_slice(tag.as_bytes());
            out.put_u8(0);
        });
    }

    pub(super) fn refuse(&mut self, severity: &str, refusal: &Refusal) {
        self.message(b'E', |out| {
            for (field, text) in [
                (b'S', severity),
                (b'V', severity),
                (b'C', refusal.code),
                (b'M', refusal.message.as_str()),
            ] {
                out.put_u8(field);
                out.put_slice(text.as_bytes());
                out.put_u8(0);
            }
            out.put_u8(0);
        });
    }

    pub(super) fn bell(&mut self, pid: i32, payload: &str) {
        self.message(b'A', |out| {
            out.put_i32(pid);
            out.put_slice(b"neverstale\0");
            out.put_slice(payload.as_bytes());
            out.put_u8(0);
        });
    }

    fn message(&mut self, kind: u8, write: impl FnOnce(&mut BytesMut)) {
        self.0.put_u8(kind);
        let start = self.0.len();
        self.0.put_i32(0);
        write(&mut self.0);
        let length = (self.0.len() - start) as u32;
        self.0[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Writes what comes behind its length.
fn sized(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    write(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}
