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
@group(0) @binding(3) var<storage, read_write> values: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = flat_group(group, groups) * WORKGROUP_SIZE * ELEMENTS_PER_INVOCATION + local;
    for (var i = 0u; i < ELEMENTS_PER_INVOCATION; i = i + 1u) {
        let element = first + i * WORKGROUP_SIZE;
        if element < params.element_count {
            let code = (codes[element >> 2u] >> (8u * (element & 3u))) & 0xffu;
            values[element] = f32_mul(f32_from_e4m3(code), scale_of(element));
        }
    }
}
