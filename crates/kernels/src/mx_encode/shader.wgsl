struct Params {
    cols: u32,
    row_blocks: u32,
    block_count: u32,
    dtype: u32,
    code_cast: u32,
    wide: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> scale_last: array<u32>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;
@group(0) @binding(4) var<storage, read_write> scales: array<atomic<u32>>;

// How many of the thresholds `amax` exceeds; the last one it never does.
fn scale_byte(amax: u32) -> u32 {
    var below = 0u;
    for (var step = 128u; step > 0u; step = step >> 1u) {
        if amax > scale_last[below + step - 1u] {
            below = below + step;
        }
    }
    return below;
}

// The pattern of 2^(127 - byte), for bytes up to 254.
fn factor_of(byte: u32) -> u32 {
    return select((254u - byte) << 23u, 0x00400000u, byte == 254u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = flat_invocation(group, groups, local);
    if block >= params.block_count {
        return;
    }
    let col = (block % params.row_blocks) * BLOCK;
    let begin = (block / params.row_blocks) * params.cols + col;
    let count = min(BLOCK, params.cols - col);
    var amax = 0u;
    for (var e = 0u; e < count; e = e + 1u) {
        amax = max(amax, source_f32(begin + e) & MAGNITUDE);
    }
    let scale = scale_byte(amax);
    atomicOr(&scales[block >> 2u], scale << (8u * (block & 3u)));

    let factor = factor_of(scale);
    let word_codes = select(8u, 4u, params.wide == 1u);
    let word_count = BLOCK / word_codes;
    for (var w = 0u; w < word_count; w = w + 1u) {
        var packed = 0u;
        for (var i = 0u; i < word_codes; i = i + 1u) {
            let e = w * word_codes + i;
            var value = 0u;
            if e < count {
                value = f32_mul(f32_cast(source_f32(begin + e), params.code_cast), factor);
            }
            if params.wide == 1u {
                packed |= e4m3_from_f32(value) << (8u * i);
            } else {
                packed |= e2m1_mx_from_f32(value) << (4u * i);
            }
        }
        codes[block * word_count + w] = packed;
    }
}
