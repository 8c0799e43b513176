// Elements of the buffer `source` as patterns of F32, in kernels whose parameter `dtype` tells their type:
// 0 is F32, 1 is BF16, 2 is F16.

fn source_f32(index: u32) -> u32 {
    if params.dtype == 0u {
        return source[index];
    }
    let half = (source[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu;
    if params.dtype == 1u {
        return half << 16u;
    }
    return f32_from_f16(half);
}
