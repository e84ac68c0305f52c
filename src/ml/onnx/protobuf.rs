//! Writes the part of protobuf's wire format that an ONNX file needs.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding>. A library would need a second copy of the whole model in memory.
//! Here the weights go directly into the file, and only the bytes between them are built in memory.

/// The encoded fields of a message, in the order in which they were added.
#[derive(Debug, Default, Clone)]
pub(super) struct Message(Vec<u8>);

/// Wire types.
const VARINT: u64 = 0;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    /// An integer or enum.
    pub(super) fn int(mut self, field: u64, value: i64) -> Self {
        self.tag(field, VARINT);
        self.varint(value as u64);
        self
    }

    pub(super) fn ints(self, field: u64, values: &[i64]) -> Self {
        values.iter().fold(self, |message, value| message.int(field, *value))
    }

    pub(super) fn float(mut self, field: u64, value: f32) -> Self {
        self.tag(field, FIXED32);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub(super) fn message(self, field: u64, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }

    pub(super) fn bytes(self, field: u64, value: &[u8]) -> Self {
        let mut message = self.announce(field, value.len() as u64);
        message.0.extend(value);
        message
    }

    /// Begins a text, a message or bytes of this length; the caller writes the content after this message.
    pub(super) fn announce(mut self, field: u64, length: u64) -> Self {
        self.tag(field, LENGTH);
        self.varint(length);
        self
    }

    pub(super) fn append(&mut self, other: &Message) {
        self.0.extend(&other.0);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn tag(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_bytes_of_the_format_s_guide() {
        assert_eq!(Message::default().int(1, 150).as_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().text(2, "testing").as_bytes(), b"\x12\x07testing");
        let inner = Message::default().int(1, 150);
        assert_eq!(Message::default().message(3, &inner).as_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(Message::default().ints(1, &[3, -1]).len(), 2 + 11);
        assert_eq!(Message::default().float(2, 1.0).as_bytes(), [0x15, 0, 0, 0x80, 0x3f]);
        assert_eq!(Message::default().announce(9, 300).as_bytes(), [0x4a, 0xac, 0x02]);
    }
}
