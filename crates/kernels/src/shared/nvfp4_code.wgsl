// The E2M1 code of a pattern: the number of the first seven thresholds that its magnitude exceeds, and the
// sign bit if it is negative and exceeds the eighth.
fn code(pattern: u32, low: vec4<i32>, high: vec4<i32>) -> u32 {
    let wanted = vec4<i32>(magnitude(pattern));
    let one = vec4<u32>(1u);
    let zero = vec4<u32>(0u);
    let below_low = select(zero, one, wanted > low);
    let below_high = select(zero, one, wanted > high);
    let count = dot(below_low, one) + below_high.x + below_high.y + below_high.z;
    return count | (((pattern >> 31u) & below_high.w) << 3u);
}
