//! Floating-point types of tensors: `f32` or `f64`.

use std::fmt::{Debug, Display};
use std::iter::Sum;

use dfdx::dtypes::{Dtype, NotMixedPrecision};
use num_traits::Float;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The scalar type of a flow: `f32`, the default, or `f64`, for verification and tight tolerances.
///
/// It carries the constants and bit views of the kernels in [`elementwise`](crate::elementwise).
pub trait Real:
    Dtype + NotMixedPrecision + Float + Sum + Display + Debug + Default + sealed::Sealed
{
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;
    /// 1/k! for k = 0, 1, ..: enough terms for |r| <= ln(2)/2 to rounding.
    const EXP_SERIES: &'static [Self];
    /// 1/(2k+1) for k = 0, 1, ..: enough terms of atanh for |s| <= 1/3 to rounding.
    const ATANH_SERIES: &'static [Self];
    /// Leading bits of ln 2; n times it is exact for every exponent n.
    const LN_2_HIGH: Self;
    /// ln 2 less [`LN_2_HIGH`](Self::LN_2_HIGH).
    const LN_2_LOW: Self;
    /// 1.5 times 2 to the number of fraction bits: adding it rounds to an integer in the low bits.
    const ROUND: Self;
    /// exp overflows above this argument.
    const EXP_MAX: Self;
    /// exp is taken as zero under this argument, half a unit of ln 2 above that of the smallest
    /// normal number: there the exponent of the result still fits.
    const EXP_MIN: Self;

    /// Bytes of a value.
    const BYTES: usize;

    /// Appends the value's bytes, lowest first.
    fn write_bytes(self, bytes: &mut Vec<u8>);
    /// The value of [`BYTES`](Self::BYTES) bytes, lowest first; zero if there are not as many.
    fn from_bytes(bytes: &[u8]) -> Self;
    /// The nearest value to `x`.
    fn of(x: f64) -> Self;
    /// The value in double precision.
    fn as_f64(self) -> f64;
    /// 2^(n-1), where `self` is `ROUND + n`.
    fn half_power_of_two(self) -> Self;
    /// Exponent e and mantissa m in [sqrt(1/2), sqrt(2)) with x = m 2^e, for a positive normal x.
    fn exponent_and_mantissa(self) -> (Self, Self);
}

const fn inverse_factorials<const N: usize>() -> [f64; N] {
    let mut terms = [1.0; N];
    let mut k = 1;
    while k < N {
        terms[k] = terms[k - 1] / k as f64;
        k += 1;
    }
    terms
}

const fn inverse_odds<const N: usize>() -> [f64; N] {
    let mut terms = [1.0; N];
    let mut k = 0;
    while k < N {
        terms[k] = 1.0 / (2 * k + 1) as f64;
        k += 1;
    }
    terms
}

const fn narrowed<const N: usize>(wide: [f64; N]) -> [f32; N] {
    let mut terms = [0.0; N];
    let mut k = 0;
    while k < N {
        terms[k] = wide[k] as f32;
        k += 1;
    }
    terms
}

impl Real for f32 {
    const NAME: &'static str = "f32";
    const BYTES: usize = 4;
    // 0.3466^8 / 8! = 5e-9, below half an ulp of 1.
    const EXP_SERIES: &'static [Self] = &narrowed(inverse_factorials::<8>());
    // (1/9)^8 / 17 = 1.4e-9.
    const ATANH_SERIES: &'static [Self] = &narrowed(inverse_odds::<8>());
    const LN_2_HIGH: Self = 0.693_359_4;
    const LN_2_LOW: Self = -2.121_944_4e-4;
    const ROUND: Self = 12_582_912.0;
    const EXP_MAX: Self = 88.722_83;
    const EXP_MIN: Self = -86.989_97;

    fn write_bytes(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        bytes.try_into().map_or(0.0, Self::from_le_bytes)
    }

    #[inline(always)]
    fn of(x: f64) -> Self {
        x as Self
    }

    #[inline(always)]
    fn as_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn half_power_of_two(self) -> Self {
        // The low bits of `ROUND + n` hold n; shifting them into the exponent field drops ROUND.
        Self::from_bits((self.to_bits() << 23).wrapping_add(126 << 23))
    }

    #[inline(always)]
    fn exponent_and_mantissa(self) -> (Self, Self) {
        // Subtracting the bits of sqrt(1/2) makes the exponent field count from there.
        let offset = self.to_bits().wrapping_sub(0x3f35_04f3);
        let exponent = (offset as i32) >> 23;
        let mantissa = Self::from_bits((offset & 0x007f_ffff).wrapping_add(0x3f35_04f3));
        (exponent as Self, mantissa)
    }
}

impl Real for f64 {
    const NAME: &'static str = "f64";
    const BYTES: usize = 8;
    // 0.3466^14 / 14! = 4e-18.
    const EXP_SERIES: &'static [Self] = &inverse_factorials::<14>();
    // (1/9)^17 / 35 = 2e-18.
    const ATANH_SERIES: &'static [Self] = &inverse_odds::<17>();
    const LN_2_HIGH: Self = 0.693_147_180_369_123_8;
    const LN_2_LOW: Self = 1.908_214_929_270_587_7e-10;
    const ROUND: Self = 6_755_399_441_055_744.0;
    const EXP_MAX: Self = 709.782_712_893_384;
    const EXP_MIN: Self = -708.049_844_9;

    fn write_bytes(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        bytes.try_into().map_or(0.0, Self::from_le_bytes)
    }

    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn as_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn half_power_of_two(self) -> Self {
        Self::from_bits((self.to_bits() << 52).wrapping_add(1022 << 52))
    }

    #[inline(always)]
    fn exponent_and_mantissa(self) -> (Self, Self) {
        let offset = self.to_bits().wrapping_sub(0x3fe6_a09e_667f_3bcd);
        let exponent = (offset as i64) >> 52;
        let mantissa =
            Self::from_bits((offset & 0x000f_ffff_ffff_ffff).wrapping_add(0x3fe6_a09e_667f_3bcd));
        (exponent as Self, mantissa)
    }
}
