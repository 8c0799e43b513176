struct Params {
    element_count: u32,
    block: u32,
    high_first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> products: array<u32>;
@group(0) @binding(4) var<storage, read_write> values: array<u32>;

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
            let place = (element & 7u) ^ params.high_first;
            let code = (codes[element >> 3u] >> (4u * place)) & 0xfu;
            let block = element / params.block;
            let scale = (scales[block >> 2u] >> (8u * (block & 3u))) & 0xffu;
            values[element] = products[16u * scale + code];
        }
    }
}
