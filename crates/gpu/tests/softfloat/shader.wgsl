struct Params {
    count: u32,
    operation: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<u32>;
@group(0) @binding(2) var<storage, read> right: array<u32>;
@group(0) @binding(3) var<storage, read_write> results: array<u32>;

fn result_of(a: u32, b: u32) -> u32 {
    switch params.operation {
        case 0u: { return f32_mul(a, b); }
        case 1u: { return f32_div(a, b); }
        case 2u: { return f32_add(a, b); }
        case 3u: { return f32_sub(a, b); }
        case 4u: { return bf16_from_f32(a); }
        case 5u: { return f16_from_f32(a); }
        case 6u: { return f32_from_f16(a & 0xffffu); }
        case 7u: { return e4m3_from_f32(a); }
        case 8u: { return f32_from_e4m3(a & 0xffu); }
        case 9u: { return e2m1_nvfp4_from_f32(a); }
        case 10u: { return e2m1_mx_from_f32(a); }
        default: { return f32_cast(a, b % 3u); }
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let at = flat_invocation(group, groups, local);
    if at < params.count {
        results[at] = result_of(left[at], right[at]);
    }
}
