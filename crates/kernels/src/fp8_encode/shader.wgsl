struct Params {
    element_count: u32,
    cols: u32,
    first_row: u32,
    first_col: u32,
    block_rows: u32,
    block_cols: u32,
    scale_cols: u32,
    dtype: u32,
    code_cast: u32,
    quotient: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first_word = flat_group(group, groups) * WORKGROUP_SIZE * WORDS_PER_INVOCATION + local;
    for (var w = 0u; w < WORDS_PER_INVOCATION; w = w + 1u) {
        let word = first_word + w * WORKGROUP_SIZE;
        var packed = 0u;
        for (var i = 0u; i < 4u; i = i + 1u) {
            let element = word * 4u + i;
            if element < params.element_count {
                let value = f32_cast(source_f32(element), params.code_cast);
                let quotient = f32_cast(f32_div(value, scale_of(element)), params.quotient);
                packed |= e4m3_from_f32(quotient) << (8u * i);
            }
        }
        if word * 4u < params.element_count {
            codes[word] = packed;
        }
    }
}
