struct Params {
    scale_count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scales: array<u32>;
@group(0) @binding(2) var<storage, read_write> census: array<atomic<u32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = flat_group(group, groups) * WORKGROUP_SIZE * SCALES_PER_INVOCATION + local;
    for (var i = 0u; i < SCALES_PER_INVOCATION; i = i + 1u) {
        let index = first + i * WORKGROUP_SIZE;
        if index < params.scale_count {
            let bits = scales[index];
            let magnitude = bits & 0x7fffffffu;
            // Bad scales are rare: straight into the census.
            if magnitude >= 0x7f800000u {
                atomicAdd(&census[NOT_FINITE_AT], 1u);
                atomicMax(&census[FIRST_BAD_AT], rank_of_first(index));
            } else if bits > 0x80000000u {
                atomicAdd(&census[NEGATIVE_AT], 1u);
                atomicMax(&census[FIRST_BAD_AT], rank_of_first(index));
            }
            if magnitude == 0u {
                atomicAdd(&census[ZERO_AT], 1u);
            } else if magnitude < 0x00800000u {
                atomicAdd(&census[SUBNORMAL_AT], 1u);
            }
        }
    }
}
