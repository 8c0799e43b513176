// Number of this workgroup and of this invocation in a dispatch of two dimensions: more workgroups are
// needed than one dimension may have.

fn flat_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

fn flat_invocation(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
    return flat_group(group, groups) * WORKGROUP_SIZE + local;
}
