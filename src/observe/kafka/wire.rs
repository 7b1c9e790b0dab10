//! Bytes of the Kafka protocol: numbers, strings, arrays and tagged fields, in the classic and the flexible form. Used by
//! `protocol.rs`. Reading trusts nobody: lengths are checked against what is there, and nothing is set aside for a claimed length.

/// What the bytes cannot mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Puts a message together.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    is_flexible: bool,
}

impl Writer {
    /// An empty message. `is_flexible` chooses compact lengths and tagged fields.
    pub(super) fn new(is_flexible: bool) -> Self {
        Self { bytes: Vec::new(), is_flexible }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }

    /// A topic id that says nothing.
    pub(super) fn no_uuid(&mut self) {
        self.bytes.extend([0; 16]);
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
            value >>= 7;
        }
        self.bytes.push(u8::try_from(value).unwrap_or(0));
    }

    /// A string; one too long for the protocol is cut, so that the server refuses it instead of misreading what follows.
    pub(super) fn string(&mut self, value: &str) {
        let bytes = value.as_bytes().get(..usize::from(u16::MAX / 2)).unwrap_or(value.as_bytes());
        if self.is_flexible {
            self.varint(u32::try_from(bytes.len() + 1).unwrap_or(1));
        } else {
            self.i16(i16::try_from(bytes.len()).unwrap_or(i16::MAX));
        }
        self.bytes.extend(bytes);
    }

    /// Raw bytes with a length of four bytes (no flexible request of ours has any).
    pub(super) fn blob(&mut self, value: &[u8]) {
        self.i32(i32::try_from(value.len()).unwrap_or(0));
        self.bytes.extend(value);
    }

    /// The length of an array; its elements follow.
    pub(super) fn array(&mut self, length: usize) {
        if self.is_flexible {
            self.varint(u32::try_from(length + 1).unwrap_or(1));
        } else {
            self.i32(i32::try_from(length).unwrap_or(0));
        }
    }

    /// The end of a structure: no tagged fields.
    pub(super) fn end(&mut self) {
        if self.is_flexible {
            self.bytes.push(0);
        }
    }
}

/// Takes a message apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    is_flexible: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], is_flexible: bool) -> Self {
        Self { bytes, is_flexible }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or(Malformed)?;
        self.bytes = tail;
        Ok(head)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(Malformed)?;
        self.bytes = tail;
        Ok(*head)
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.fixed::<1>()? != [0])
    }

    pub(super) fn i8(&mut self) -> Result<i8, Malformed> {
        self.fixed().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub(super) fn uuid(&mut self) -> Result<u128, Malformed> {
        self.fixed().map(u128::from_be_bytes)
    }

    fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).ok_or(Malformed)?;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A length where zero or below stands for null, as flexible messages have it.
    fn compact_length(&mut self) -> Result<Option<usize>, Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        Ok(length.checked_sub(1))
    }

    /// A string or null.
    pub(super) fn nullable(&mut self) -> Result<Option<&'a str>, Malformed> {
        let length = if self.is_flexible {
            self.compact_length()?
        } else {
            usize::try_from(self.i16()?).ok()
        };
        let Some(length) = length else { return Ok(None) };
        std::str::from_utf8(self.take(length)?).map(Some).map_err(|_| Malformed)
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<&'a str, Malformed> {
        self.nullable()?.ok_or(Malformed)
    }

    /// Raw bytes; null is empty.
    pub(super) fn blob(&mut self) -> Result<&'a [u8], Malformed> {
        let length = if self.is_flexible {
            self.compact_length()?
        } else {
            usize::try_from(self.i32()?).ok()
        };
        self.take(length.unwrap_or(0))
    }

    /// The length of an array; null is empty. Each element takes at least a byte, so a longer claim is a lie.
    pub(super) fn array(&mut self) -> Result<usize, Malformed> {
        let length = if self.is_flexible {
            self.compact_length()?
        } else {
            usize::try_from(self.i32()?).ok()
        };
        let length = length.unwrap_or(0);
        if length > self.bytes.len() { Err(Malformed) } else { Ok(length) }
    }

    /// Reads past an array of numbers.
    pub(super) fn skip_i32s(&mut self) -> Result<(), Malformed> {
        let length = self.array()?;
        self.take(length.checked_mul(4).ok_or(Malformed)?).map(drop)
    }

    /// The end of a structure: reads past tagged fields.
    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        if self.is_flexible {
            for _ in 0..self.varint()? {
                self.varint()?;
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                self.take(length)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_in_both_forms() {
        for is_flexible in [false, true] {
            let mut writer = Writer::new(is_flexible);
            writer.string("orders");
            writer.array(300);
            for number in 0..300 {
                writer.i32(number);
            }
            writer.end();
            writer.i64(-7);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes, is_flexible);
            assert_eq!(reader.string(), Ok("orders"));
            assert_eq!(reader.array(), Ok(300));
            assert_eq!(
                (0..300).map(|_| reader.i32()).collect::<Result<Vec<_>, _>>(),
                Ok((0..300).collect())
            );
            assert_eq!(reader.end(), Ok(()));
            assert_eq!(reader.i64(), Ok(-7));
            assert_eq!(reader.i16(), Err(Malformed));
        }
    }

    #[test]
    fn a_claimed_length_beyond_the_message_is_a_lie() {
        assert_eq!(Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1], false).array(), Err(Malformed));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1], true).array(), Err(Malformed));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], true).array(),
            Err(Malformed)
        );
        assert_eq!(Reader::new(&[0x40, 0x00, b'x'], false).string(), Err(Malformed));
        assert_eq!(Reader::new(&[0xff, 0xff], false).nullable(), Ok(None));
        assert_eq!(Reader::new(&[0, 0, 0, 3, 0, 0, 0, 1], false).skip_i32s(), Err(Malformed));
    }
}
