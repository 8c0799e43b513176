// IEEE binary32 on patterns of bits, with integers only: rounded to nearest, ties to even, subnormals kept.
// A result that is not a number is 0x7fc00000 (a code 0x7f), from whatever NaN or operation it came.

const SIGN: u32 = 0x80000000u;
const MAGNITUDE: u32 = 0x7fffffffu;
const INFINITY: u32 = 0x7f800000u;
const NOT_A_NUMBER: u32 = 0x7fc00000u;

// A positive finite number, `significand * 2^(exponent - 150)`, its leading bit at bit 23.
struct Parts {
    exponent: i32,
    significand: u32,
}

fn f32_parts(magnitude: u32) -> Parts {
    let fraction = magnitude & 0x7fffffu;
    if magnitude >= 0x800000u {
        return Parts(i32(magnitude >> 23u), fraction | 0x800000u);
    }
    let shift = countLeadingZeros(fraction) - 8u;
    return Parts(1 - i32(shift), fraction << shift);
}

// Shifts right. Whether a bit that is not zero is lost shows in the lowest bit of the result.
fn shift_right_sticky(value: u32, count: u32) -> u32 {
    if count == 0u {
        return value;
    }
    if count > 31u {
        return min(value, 1u);
    }
    return (value >> count) | min(value << (32u - count), 1u);
}

// Shifts right by 1 to 31 and rounds, ties to even. `value` is below 2^24.
fn shift_right_even(value: u32, count: u32) -> u32 {
    return (value + (1u << (count - 1u)) - 1u + ((value >> count) & 1u)) >> count;
}

// The pattern nearest to `significand * 2^(exponent - 157)`, whose leading bit is bit 30 and whose lowest bit
// may be sticky.
fn f32_round(sign: u32, exponent: i32, significand: u32) -> u32 {
    if exponent > 254 {
        return sign | INFINITY;
    }
    var kept = significand;
    if exponent < 1 {
        kept = shift_right_sticky(significand, u32(1 - exponent));
    }
    let rounded = (kept + 0x3fu + ((kept >> 7u) & 1u)) >> 7u;
    // A normal number's leading bit, or the carry of a subnormal one, adds 1 to the exponent's field.
    return sign | ((u32(max(exponent, 1) - 1) << 23u) + rounded);
}

fn f32_mul(a: u32, b: u32) -> u32 {
    let sign = (a ^ b) & SIGN;
    let x = a & MAGNITUDE;
    let y = b & MAGNITUDE;
    if x >= INFINITY || y >= INFINITY {
        let invalid = x > INFINITY || y > INFINITY || x == 0u || y == 0u;
        return select(sign | INFINITY, NOT_A_NUMBER, invalid);
    }
    if x == 0u || y == 0u {
        return sign;
    }
    let p = f32_parts(x);
    let q = f32_parts(y);
    // 24 by 24 bits in digits of 12: the product is `high * 2^24 + low`, `high` has 23 or 24 bits.
    let p_high = p.significand >> 12u;
    let p_low = p.significand & 0xfffu;
    let q_high = q.significand >> 12u;
    let q_low = q.significand & 0xfffu;
    let lowest = p_low * q_low;
    let middle = p_high * q_low + p_low * q_high + (lowest >> 12u);
    let high = p_high * q_high + (middle >> 12u);
    let low = ((middle & 0xfffu) << 12u) | (lowest & 0xfffu);
    let carry = high >> 23u;
    let shift = 8u - carry;
    let significand = (high << shift) | (low >> (24u - shift)) | min(low << (8u + shift), 1u);
    return f32_round(sign, p.exponent + q.exponent - 127 + i32(carry), significand);
}

fn f32_div(a: u32, b: u32) -> u32 {
    let sign = (a ^ b) & SIGN;
    let x = a & MAGNITUDE;
    let y = b & MAGNITUDE;
    if x > INFINITY || y > INFINITY || (x == y && (x == 0u || x == INFINITY)) {
        return NOT_A_NUMBER;
    }
    if x == INFINITY || y == 0u {
        return sign | INFINITY;
    }
    if y == INFINITY || x == 0u {
        return sign;
    }
    let p = f32_parts(x);
    let q = f32_parts(y);
    let less = select(0u, 1u, p.significand < q.significand);
    // The first bit of the quotient is 1; three digits of eight bits follow.
    var quotient = 1u;
    var rest = (p.significand << less) - q.significand;
    for (var i = 0u; i < 3u; i = i + 1u) {
        rest = rest << 8u;
        let digit = rest / q.significand;
        quotient = (quotient << 8u) | digit;
        rest = rest - digit * q.significand;
    }
    return f32_round(sign, p.exponent - q.exponent + 127 - i32(less), (quotient << 6u) | min(rest, 1u));
}

fn f32_add(a: u32, b: u32) -> u32 {
    let x = a & MAGNITUDE;
    let y = b & MAGNITUDE;
    if x >= INFINITY || y >= INFINITY {
        let invalid = x > INFINITY || y > INFINITY || (x == y && a != b);
        return select(select(b, a, x == INFINITY), NOT_A_NUMBER, invalid);
    }
    let larger = select(b, a, x >= y);
    let smaller = select(a, b, x >= y);
    if (smaller & MAGNITUDE) == 0u {
        // Two zeros have the sign they share, or none.
        return select(larger, a & b, (larger & MAGNITUDE) == 0u);
    }
    let p = f32_parts(larger & MAGNITUDE);
    let q = f32_parts(smaller & MAGNITUDE);
    let aligned = shift_right_sticky(q.significand << 6u, u32(p.exponent - q.exponent));
    var sum = p.significand << 6u;
    if ((a ^ b) & SIGN) == 0u {
        sum = sum + aligned;
    } else {
        sum = sum - aligned;
    }
    if sum == 0u {
        return 0u;
    }
    let shift = countLeadingZeros(sum) - 1u;
    return f32_round(larger & SIGN, p.exponent + 1 - i32(shift), sum << shift);
}

fn f32_sub(a: u32, b: u32) -> u32 {
    return f32_add(a, b ^ SIGN);
}

fn f32_from_f16(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let magnitude = half & 0x7fffu;
    if magnitude > 0x7c00u {
        return NOT_A_NUMBER;
    }
    if magnitude == 0x7c00u {
        return sign | INFINITY;
    }
    if magnitude >= 0x400u {
        return sign | ((magnitude << 13u) + (112u << 23u));
    }
    if magnitude == 0u {
        return sign;
    }
    let shift = countLeadingZeros(magnitude) - 8u;
    return sign | (((125u - shift) << 23u) + (magnitude << shift));
}

fn f16_from_f32(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & MAGNITUDE;
    if magnitude > INFINITY {
        return 0x7e00u;
    }
    if magnitude < 0x38800000u {
        // Below 2^-14, in units of 2^-24; from a shift of 25 on nothing is left.
        let p = f32_parts(max(magnitude, 1u));
        return sign | shift_right_even(p.significand, u32(clamp(126 - p.exponent, 1, 25)));
    }
    let rounded = (magnitude + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u;
    return sign | (min(rounded, (143u << 10u)) - (112u << 10u));
}

// The upper half of the pattern.
fn bf16_from_f32(bits: u32) -> u32 {
    if (bits & MAGNITUDE) > INFINITY {
        return NOT_A_NUMBER >> 16u;
    }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

// The value rounded to another type and widened again: 0 leaves it, 1 is BF16, 2 is F16.
fn f32_cast(bits: u32, to: u32) -> u32 {
    if to == 1u {
        return bf16_from_f32(bits) << 16u;
    }
    if to == 2u {
        return f32_from_f16(f16_from_f32(bits));
    }
    return bits;
}

// What is too large saturates.
fn e4m3_from_f32(bits: u32) -> u32 {
    let sign = (bits >> 24u) & 0x80u;
    let magnitude = bits & MAGNITUDE;
    if magnitude > INFINITY {
        return 0x7fu;
    }
    if magnitude < 0x3c800000u {
        // Below 2^-6, in units of 2^-9.
        let p = f32_parts(max(magnitude, 1u));
        return sign | shift_right_even(p.significand, u32(clamp(141 - p.exponent, 1, 25)));
    }
    let rounded = (magnitude + 0x7ffffu + ((magnitude >> 20u) & 1u)) >> 20u;
    return sign | (min(rounded, (120u << 3u) + 0x7eu) - (120u << 3u));
}

fn f32_from_e4m3(code: u32) -> u32 {
    let sign = (code & 0x80u) << 24u;
    let magnitude = code & 0x7fu;
    if magnitude == 0x7fu {
        return NOT_A_NUMBER;
    }
    if magnitude >= 8u {
        return sign | ((magnitude << 20u) + (120u << 23u));
    }
    if magnitude == 0u {
        return sign;
    }
    let shift = countLeadingZeros(magnitude) - 8u;
    return sign | (((140u - shift) << 23u) + (magnitude << shift));
}

// How many of the midpoints between E2M1's values a magnitude exceeds: .25 .75 1.25 1.75 2.5 3.5 5.
fn e2m1_midpoints_below(magnitude: u32) -> u32 {
    return select(0u, 1u, magnitude > 0x3e800000u) + select(0u, 1u, magnitude > 0x3f400000u)
        + select(0u, 1u, magnitude > 0x3fa00000u) + select(0u, 1u, magnitude > 0x3fe00000u)
        + select(0u, 1u, magnitude > 0x40200000u) + select(0u, 1u, magnitude > 0x40600000u)
        + select(0u, 1u, magnitude > 0x40a00000u);
}

// NVFP4's rule: ties to the even code; a sign where the number is below zero; NaN gives 7.
fn e2m1_nvfp4_from_f32(bits: u32) -> u32 {
    let magnitude = bits & MAGNITUDE;
    if magnitude > INFINITY {
        return 7u;
    }
    let tie_up = magnitude == 0x3f400000u || magnitude == 0x3fe00000u || magnitude == 0x40600000u;
    let code = e2m1_midpoints_below(magnitude) + select(0u, 1u, tie_up);
    return code | select(0u, 8u, bits > SIGN);
}

// MXFP4's rule: ties towards zero; a sign where the number is not above zero; NaN gives 8.
fn e2m1_mx_from_f32(bits: u32) -> u32 {
    let is_positive = bits != 0u && bits <= INFINITY;
    let magnitude = bits & MAGNITUDE;
    let code = select(e2m1_midpoints_below(magnitude), 0u, magnitude > INFINITY);
    return code | select(8u, 0u, is_positive);
}
