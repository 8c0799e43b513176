struct Params {
    cols: u32,
    row_blocks: u32,
    block_count: u32,
    block: u32,
    narrow: u32,
    zero_scale: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> scale_last: array<i32>;
@group(0) @binding(3) var<storage, read> code_last: array<vec4<i32>>;
@group(0) @binding(4) var<storage, read_write> codes: array<u32>;
@group(0) @binding(5) var<storage, read_write> scales: array<u32>;

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
    let block_words = params.block >> 3u;
    var scale_word = 0u;
    for (var i = 0u; i < BLOCKS_PER_INVOCATION; i = i + 1u) {
        let block = first + i;
        if block >= params.block_count {
            break;
        }
        let row = block / params.row_blocks;
        let col = (block % params.row_blocks) * params.block;
        let begin = row * params.cols + col;
        let count = min(params.block, params.cols - col);

        // Every element is stored, padding too: the array is not zero again in each turn of the loop on
        // every implementation, whatever the language promises (seen in Chromium on SwiftShader).
        var patterns: array<u32, MOST_BLOCK>;
        var amax = 0;
        for (var e = 0u; e < params.block; e = e + 1u) {
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
        for (var w = 0u; w < block_words; w = w + 1u) {
            var packed = 0u;
            for (var e = 0u; e < 8u; e = e + 1u) {
                packed |= code(patterns[8u * w + e], low, high) << (e * 4u);
            }
            codes[block_words * block + w] = packed;
        }
        scale_word |= scale << (8u * i);
    }
    scales[word] = scale_word;
}
