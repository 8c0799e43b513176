// Elements of a plain float tile as patterns. The shader has a buffer `source` of words, and `narrow` among
// its parameters: 1 if two elements share a word, 0 if each has its own.

// The pattern of element `index`; of a narrow type in the lower half, the sign in bit 31 in either case.
fn element(index: u32) -> u32 {
    if params.narrow == 0u {
        return source[index];
    }
    let half = source[index >> 1u] >> ((index & 1u) * 16u);
    return (half & 0x7fffu) | ((half & 0x8000u) << 16u);
}

fn magnitude(pattern: u32) -> i32 {
    return i32(pattern & 0x7fffffffu);
}
