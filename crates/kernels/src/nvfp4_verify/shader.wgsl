struct Params {
    block_count: u32,
    row_blocks: u32,
    block_words: u32,
    logical_cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read_write> census: array<atomic<u32>>;

// The counts of codes and of scale bytes, in the order of the census.
var<workgroup> group_counts: array<atomic<u32>, 272>;

fn is_zero(code: u32) -> bool {
    return (code & 7u) == 0u;
}

// How many codes of a word, the first of them at column `col`, are padding and not zero.
fn count_padding(col: u32, word: u32) -> u32 {
    var not_zero = 0u;
    if col + 8u > params.logical_cols {
        for (var e = 0u; e < 8u; e = e + 1u) {
            let code = (word >> (e * 4u)) & 0xfu;
            not_zero += select(0u, 1u, col + e >= params.logical_cols && !is_zero(code));
        }
    }
    return not_zero;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first_quad = flat_group(group, groups) * WORKGROUP_SIZE * QUADS_PER_INVOCATION + local;
    var code_counts = array<u32, 16>();
    for (var i = 0u; i < QUADS_PER_INVOCATION; i = i + 1u) {
        let quad = first_quad + i * WORKGROUP_SIZE;
        for (var j = 0u; j < 4u; j = j + 1u) {
            let block = quad * 4u + j;
            if block < params.block_count {
                let first_col = (block % params.row_blocks) * params.block_words * 8u;
                var any_code = 0u;
                var padding = 0u;
                for (var w = 0u; w < params.block_words; w = w + 1u) {
                    let word = codes[block * params.block_words + w];
                    any_code |= word;
                    for (var c = 0u; c < 16u; c = c + 1u) {
                        code_counts[c] += nibbles_equal(word, c);
                    }
                    padding += count_padding(first_col + w * 8u, word);
                }
                let scale = (scales[quad] >> (8u * j)) & 0xffu;
                atomicAdd(&group_counts[SCALES_AT + scale], 1u);
                if (scale & 0x7fu) == 0u {
                    if (any_code & 0x77777777u) != 0u {
                        atomicAdd(&census[ZERO_SCALE_WITH_CODES_AT], 1u);
                        atomicMax(&census[FIRST_ZERO_SCALE_WITH_CODES_AT], rank_of_first(block));
                    } else {
                        atomicAdd(&census[ZERO_SCALE_ZERO_CODES_AT], 1u);
                    }
                } else if scale > 0x80u || scale == 0x7fu {
                    atomicMax(&census[FIRST_BAD_SCALE_AT], rank_of_first(block));
                }
                if padding != 0u {
                    atomicAdd(&census[PADDING_NOT_ZERO_AT], padding);
                }
            }
        }
    }
    for (var c = 0u; c < 16u; c = c + 1u) {
        atomicAdd(&group_counts[c], code_counts[c]);
    }
    workgroupBarrier();
    for (var c = local; c < 272u; c = c + WORKGROUP_SIZE) {
        let count = atomicLoad(&group_counts[c]);
        if count != 0u {
            atomicAdd(&census[c], count);
        }
    }
}
