// Helpers of the censuses.

// "The first index" as a number whose maximum is wanted, so that a buffer of zeros says "none".
fn rank_of_first(index: u32) -> u32 {
    return ~index;
}

// How many of the eight nibbles of a word are `nibble`.
fn nibbles_equal(word: u32, nibble: u32) -> u32 {
    let differs = word ^ (nibble * 0x11111111u);
    let any = differs | (differs >> 1u) | (differs >> 2u) | (differs >> 3u);
    return 8u - countOneBits(any & 0x11111111u);
}
