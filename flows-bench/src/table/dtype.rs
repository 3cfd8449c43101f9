//! The element types of an NPY array that are numbers.

/// Kind and width of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    F32,
    F64,
}

/// A numeric element type with its byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dtype {
    number: Number,
    big_endian: bool,
}

impl Dtype {
    /// Parses a description such as `<f8` or `|b1`; `None` for anything but a supported number.
    pub(super) fn parse(descr: &str) -> Option<Self> {
        let (order, name) = match descr.strip_prefix(['<', '>', '|', '=']) {
            Some(name) => (descr.as_bytes()[0], name),
            None => (b'|', descr),
        };
        let number = match name {
            "b1" => Number::Bool,
            "i1" => Number::I8,
            "i2" => Number::I16,
            "i4" => Number::I32,
            "i8" => Number::I64,
            "u1" => Number::U8,
            "u2" => Number::U16,
            "u4" => Number::U32,
            "u8" => Number::U64,
            "f2" => Number::F16,
            "f4" => Number::F32,
            "f8" => Number::F64,
            _ => return None,
        };
        let big_endian = order == b'>' || (order == b'=' && cfg!(target_endian = "big"));
        Some(Self { number, big_endian })
    }

    /// Bytes of one element.
    pub(super) fn bytes(self) -> usize {
        match self.number {
            Number::Bool | Number::I8 | Number::U8 => 1,
            Number::I16 | Number::U16 | Number::F16 => 2,
            Number::I32 | Number::U32 | Number::F32 => 4,
            Number::I64 | Number::U64 | Number::F64 => 8,
        }
    }

    /// Appends the elements in `bytes`, a whole number of them.
    ///
    /// 64-bit integers beyond 2⁵³ are rounded to nearest.
    pub(super) fn decode(self, bytes: &[u8], out: &mut Vec<f64>) {
        let big = self.big_endian;
        match self.number {
            Number::Bool => each(bytes, big, out, |[byte]| f64::from(u8::from(byte != 0))),
            Number::I8 => each(bytes, big, out, |b| f64::from(i8::from_le_bytes(b))),
            Number::I16 => each(bytes, big, out, |b| f64::from(i16::from_le_bytes(b))),
            Number::I32 => each(bytes, big, out, |b| f64::from(i32::from_le_bytes(b))),
            Number::I64 => each(bytes, big, out, |b| i64::from_le_bytes(b) as f64),
            Number::U8 => each(bytes, big, out, |b| f64::from(u8::from_le_bytes(b))),
            Number::U16 => each(bytes, big, out, |b| f64::from(u16::from_le_bytes(b))),
            Number::U32 => each(bytes, big, out, |b| f64::from(u32::from_le_bytes(b))),
            Number::U64 => each(bytes, big, out, |b| u64::from_le_bytes(b) as f64),
            Number::F16 => each(bytes, big, out, |b| half(u16::from_le_bytes(b))),
            Number::F32 => each(bytes, big, out, |b| f64::from(f32::from_le_bytes(b))),
            Number::F64 => each(bytes, big, out, f64::from_le_bytes),
        }
    }
}

/// Appends `number` of every `N` bytes, brought into little-endian order.
fn each<const N: usize>(
    bytes: &[u8],
    big_endian: bool,
    out: &mut Vec<f64>,
    number: impl Fn([u8; N]) -> f64,
) {
    let (items, _) = bytes.as_chunks::<N>();
    out.extend(items.iter().map(|&item| {
        let mut item = item;
        if big_endian {
            item.reverse();
        }
        number(item)
    }));
}

/// IEEE 754 binary16: one sign, five exponent and ten fraction bits.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match (bits >> 10) & 0x1f {
        0 => fraction * f64::powi(2.0, -24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (1024.0 + fraction) * f64::powi(2.0, i32::from(exponent) - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(descr: &str, bytes: &[u8]) -> Vec<f64> {
        let mut out = Vec::new();
        Dtype::parse(descr).unwrap().decode(bytes, &mut out);
        out
    }

    #[test]
    fn every_number_type_is_decoded_in_both_byte_orders() {
        assert_eq!(decoded("|b1", &[0, 1, 2]), [0.0, 1.0, 1.0]);
        assert_eq!(decoded("|i1", &[0xff, 5]), [-1.0, 5.0]);
        assert_eq!(decoded("|u1", &[0xff]), [255.0]);
        assert_eq!(decoded("<i2", &[0xfe, 0xff]), [-2.0]);
        assert_eq!(decoded(">i2", &[0xff, 0xfe]), [-2.0]);
        assert_eq!(decoded(">u2", &[0xff, 0xfe]), [65534.0]);
        for value in [-3_i32, 70_000] {
            assert_eq!(decoded("<i4", &value.to_le_bytes()), [f64::from(value)]);
            assert_eq!(decoded(">i4", &value.to_be_bytes()), [f64::from(value)]);
        }
        assert_eq!(decoded(">u4", &u32::MAX.to_be_bytes()), [f64::from(u32::MAX)]);
        assert_eq!(decoded("<i8", &(-9_i64).to_le_bytes()), [-9.0]);
        assert_eq!(decoded(">u8", &(1_u64 << 60).to_be_bytes()), [f64::powi(2.0, 60)]);
        assert_eq!(decoded(">f4", &1.5_f32.to_be_bytes()), [1.5]);
        assert_eq!(decoded(">f8", &(-0.1_f64).to_be_bytes()), [-0.1]);
        assert_eq!(decoded("=f8", &0.1_f64.to_ne_bytes()), [0.1]);
    }

    #[test]
    fn half_precision_has_its_published_values() {
        // The worked values of IEEE 754 binary16: 1, −2, largest, smallest normal, smallest.
        let bits = [0x3c00_u16, 0xc000, 0x7bff, 0x0400, 0x0001, 0x7c00];
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let values =
            [1.0, -2.0, 65504.0, 6.103_515_625e-5, 5.960_464_477_539_063e-8, f64::INFINITY];
        assert_eq!(decoded("<f2", &bytes), values);
        assert!(decoded("<f2", &[0x01, 0x7c])[0].is_nan());
    }

    #[test]
    fn other_types_are_refused() {
        for descr in ["|O", "|S3", "<U5", "<c16", "<f16", "<M8[ns]", "|V8", "", "<", "é8"] {
            assert_eq!(Dtype::parse(descr), None, "{descr}");
        }
    }
}
