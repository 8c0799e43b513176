//! INT8: a signed byte under a scale.

/// The code of a quotient of weight and scale: to nearest, ties to even, saturating at -128 and 127. NaN, the
/// quotient of a zero scale, gives 0.
///
/// ```
/// use quantscope_numeric::int8;
/// assert_eq!(int8::encode(2.5), 2);
/// assert_eq!(int8::encode(-127.5), -128);
/// assert_eq!(int8::encode(300.0), 127);
/// ```
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "a whole number, and the conversion saturates")]
pub const fn encode(quotient: f32) -> i8 {
    quotient.round_ties_even() as i8
}
