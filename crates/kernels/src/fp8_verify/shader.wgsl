struct Params {
    element_count: u32,
    cols: u32,
    first_row: u32,
    first_col: u32,
    block_rows: u32,
    block_cols: u32,
    scale_cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read_write> census: array<atomic<u32>>;

var<workgroup> group_counts: array<atomic<u32>, 256>;

fn scale_of(element: u32) -> u32 {
    let row = (params.first_row + element / params.cols) / params.block_rows;
    let col = (params.first_col + element % params.cols) / params.block_cols;
    return scales[row * params.scale_cols + col];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = flat_group(group, groups) * WORKGROUP_SIZE * WORDS_PER_INVOCATION + local;
    for (var i = 0u; i < WORDS_PER_INVOCATION; i = i + 1u) {
        let index = first + i * WORKGROUP_SIZE;
        for (var j = 0u; j < 4u; j = j + 1u) {
            let element = index * 4u + j;
            if element < params.element_count {
                let code = (codes[index] >> (8u * j)) & 0xffu;
                atomicAdd(&group_counts[code], 1u);
                if (code & 0x7fu) == 0x7fu {
                    atomicMax(&census[FIRST_NAN_AT], rank_of_first(element));
                }
                if (code & 0x7fu) != 0u && (scale_of(element) & 0x7fffffffu) == 0u {
                    atomicAdd(&census[NONZERO_UNDER_ZERO_SCALE_AT], 1u);
                    atomicMax(&census[FIRST_NONZERO_UNDER_ZERO_SCALE_AT], rank_of_first(element));
                }
            }
        }
    }
    workgroupBarrier();
    for (var c = local; c < 256u; c = c + WORKGROUP_SIZE) {
        let count = atomicLoad(&group_counts[c]);
        if count != 0u {
            atomicAdd(&census[c], count);
        }
    }
}
