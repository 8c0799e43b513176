struct Params {
    cols: u32,
    row_blocks: u32,
    block_count: u32,
    narrow: u32,
    zero_scale: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> scale_last: array<i32>;
@group(0) @binding(3) var<storage, read> code_last: array<vec4<i32>>;
@group(0) @binding(4) var<storage, read_write> codes: array<u32>;
@group(0) @binding(5) var<storage, read_write> scales: array<u32>;

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

// The number of scale thresholds below `amax`, which is the scale byte; without one, the byte of zero.
fn scale_byte(amax: i32) -> u32 {
    var below = 0u;
    for (var step = 64u; step > 0u; step = step >> 1u) {
        if amax > scale_last[below + step] {
            below = below + step;
        }
    }
    return select(below, params.zero_scale, below == 0u);
}

fn code(pattern: u32, low: vec4<i32>, high: vec4<i32>) -> u32 {
    let wanted = vec4<i32>(magnitude(pattern));
    let one = vec4<u32>(1u);
    let zero = vec4<u32>(0u);
    let below_low = select(zero, one, wanted > low);
    let below_high = select(zero, one, wanted > high);
    let count = dot(below_low, one) + below_high.x + below_high.y + below_high.z;
    return count | (((pattern >> 31u) & below_high.w) << 3u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let word = flat_invocation(group, groups, local);
    let first = word * BLOCKS_PER_INVOCATION;
    if first >= params.block_count {
        return;
    }
    var scale_word = 0u;
    for (var i = 0u; i < BLOCKS_PER_INVOCATION; i = i + 1u) {
        let block = first + i;
        if block >= params.block_count {
            break;
        }
        let row = block / params.row_blocks;
        let col = (block % params.row_blocks) * BLOCK;
        let begin = row * params.cols + col;
        let count = min(BLOCK, params.cols - col);

        // Every element is stored, padding too: the array is not zero again in each turn of the loop on
        // every implementation, whatever the language promises (seen in Chromium on SwiftShader).
        var patterns: array<u32, BLOCK>;
        var amax = 0;
        for (var e = 0u; e < BLOCK; e = e + 1u) {
            var pattern = 0u;
            if e < count {
                pattern = element(begin + e);
            }
            patterns[e] = pattern;
            amax = max(amax, magnitude(pattern));
        }
        let scale = scale_byte(amax);
        let low = code_last[2u * (scale & 0x7fu)];
        let high = code_last[2u * (scale & 0x7fu) + 1u];
        var packed = array<u32, 2>();
        for (var e = 0u; e < BLOCK; e = e + 1u) {
            packed[e >> 3u] |= code(patterns[e], low, high) << ((e & 7u) * 4u);
        }
        codes[2u * block] = packed[0];
        codes[2u * block + 1u] = packed[1];
        scale_word |= scale << (8u * i);
    }
    scales[word] = scale_word;
}
