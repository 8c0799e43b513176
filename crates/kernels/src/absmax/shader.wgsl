struct Params {
    word_count: u32,
    narrow: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: atomic<u32>;

var<workgroup> group_largest: atomic<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // Neighbours read neighbouring words.
    let first = flat_group(group, groups) * WORKGROUP_SIZE * WORDS_PER_INVOCATION + local;
    var largest = 0u;
    for (var i = 0u; i < WORDS_PER_INVOCATION; i = i + 1u) {
        let index = first + i * WORKGROUP_SIZE;
        if index < params.word_count {
            let word = source[index];
            if params.narrow == 0u {
                largest = max(largest, word & 0x7fffffffu);
            } else {
                largest = max(largest, max(word & 0x7fffu, (word >> 16u) & 0x7fffu));
            }
        }
    }
    atomicMax(&group_largest, largest);
    workgroupBarrier();
    if local == 0u {
        atomicMax(&result, atomicLoad(&group_largest));
    }
}
