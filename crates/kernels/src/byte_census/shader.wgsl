struct Params {
    byte_count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> bytes: array<u32>;
@group(0) @binding(2) var<storage, read_write> census: array<atomic<u32>>;

// Counts, then ranks of first places, in the order of the census.
var<workgroup> group_census: array<atomic<u32>, 512>;

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
            let at = index * 4u + j;
            if at < params.byte_count {
                let byte = (bytes[index] >> (8u * j)) & 0xffu;
                atomicAdd(&group_census[byte], 1u);
                atomicMax(&group_census[FIRST_AT + byte], rank_of_first(at));
            }
        }
    }
    workgroupBarrier();
    for (var c = local; c < 256u; c = c + WORKGROUP_SIZE) {
        let count = atomicLoad(&group_census[c]);
        if count != 0u {
            atomicAdd(&census[c], count);
            atomicMax(&census[FIRST_AT + c], atomicLoad(&group_census[FIRST_AT + c]));
        }
    }
}
